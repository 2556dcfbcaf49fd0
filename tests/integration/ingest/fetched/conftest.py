"""A vendor's API, and fetchers that look often."""

from collections.abc import AsyncIterator

import pytest

from services.ingest import fetching
from tests.integration.ingest.fetched.support import TOKEN
from tests.integration.ingest.vendor import Vendor, running_vendor


@pytest.fixture(autouse=True)
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing wakes it here, where only the commits of a test do."""
    monkeypatch.setattr(fetching, "_IDLE_SECONDS", 0.1)
    monkeypatch.setattr(fetching, "_POLLERS_SECONDS", 0.1)


@pytest.fixture
async def vendor() -> AsyncIterator[Vendor]:
    async with running_vendor() as running:
        running.authorization = ("authorization", f"Bearer {TOKEN}")
        yield running
