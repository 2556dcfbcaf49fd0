"""A real Chromium for end-to-end tests: the one of the system, or CHROMIUM=/path/to/it; REQUIRE_BROWSER=1 (set by CI)
makes its absence a failure instead of a skip. No test may leave a browser behind or let it talk to the outside."""

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NoReturn
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Browser, BrowserContext, Page, Request, async_playwright

_PLACES = ("chromium", "chromium-browser", "google-chrome")
_OPTIONS = (
    "--no-sandbox",  # tests may run as root, where the sandbox refuses to start
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def missing(reason: str) -> NoReturn:
    """Skip, or fail where a browser is required."""
    sentence = f"NO BROWSER, its tests do not run: {reason}; install chromium or set CHROMIUM=/path/to/it"
    if os.environ.get("REQUIRE_BROWSER") == "1":
        pytest.fail(sentence, pytrace=False)
    else:
        pytest.skip(sentence)


def executable() -> str:
    """Path of the browser. Skips or fails without one."""
    if given := os.environ.get("CHROMIUM"):
        return given if shutil.which(given) else missing(f"CHROMIUM={given} cannot be run")
    found = next((path for name in _PLACES if (path := shutil.which(name))), None)
    return found or missing("no chromium on the PATH")


@pytest.fixture(scope="package")
async def browser() -> AsyncIterator[Browser]:
    """One browser process for a folder of tests; it ends with them."""
    path = executable()
    async with async_playwright() as playwright:
        started = await playwright.chromium.launch(executable_path=path, args=list(_OPTIONS))
        try:
            yield started
        finally:
            await started.close()


class Watched:
    """A page and all that it asked for, said and complained about."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.requests: list[Request] = []
        self.problems: list[str] = []
        """Uncaught errors, dialogs, violations of the content security policy."""

    def watch(self, page: Page) -> None:
        page.on("request", lambda request: self.requests.append(request))  # a bound builtin is refused
        page.on("pageerror", lambda error: self.problems.append(f"error: {error}"))
        page.on("dialog", self._dialog)
        page.on("console", self._console)

    async def _dialog(self, dialog: Any) -> None:
        self.problems.append(f"dialog: {dialog.message}")
        await dialog.dismiss()

    def _console(self, message: Any) -> None:
        # A lost connection is reported by the browser itself; what the page does about it is what tests look at.
        if message.type in ("error", "warning") and "Failed to load resource" not in message.text:
            self.problems.append(f"console: {message.text}")

    def foreign(self, address: str) -> list[str]:
        """URLs of requests that went anywhere but to `address`."""
        home = urlsplit(address).netloc
        return [request.url for request in self.requests if urlsplit(request.url).netloc != home]


@asynccontextmanager
async def opened(browser: Browser, **options: Any) -> AsyncIterator[Watched]:
    """A page in a context of its own: no cookies, no storage. `options` go to the context."""
    context: BrowserContext = await browser.new_context(**options)
    try:
        watched = Watched(await context.new_page())
        watched.watch(watched.page)
        context.on("page", watched.watch)
        yield watched
    finally:
        await context.close()
