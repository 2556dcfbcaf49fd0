"""Structured logs: JSON for machines, readable on a terminal. Fields are named; customer text is never one of them."""

import logging
import sys
import traceback
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import structlog

Logger = structlog.stdlib.BoundLogger


def configure_logging(level: str = "info", log_format: str = "auto") -> None:
    """Set up structlog and the standard library's logging to one stream (stderr). Once per process."""
    as_json = log_format == "json" or (log_format == "auto" and not sys.stderr.isatty())
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _failure,
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    renderer: list[Any] = (
        [structlog.processors.JSONRenderer(ensure_ascii=False)]
        if as_json
        # The default formatter prints local variables: API keys and what customers wrote.
        else [
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback)
        ]
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderer],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    # Their every reconnect is a line; ours say it once.
    for noisy in ("aiokafka", "aiosmtpd", "alembic", "httpcore", "httpx", "mail.log", "uvicorn"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def get_logger(name: str) -> Logger:
    """The logger of a module."""
    logger: Logger = structlog.stdlib.get_logger(name)
    return logger


def _failure(_logger: Any, _method: str, fields: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Replace `exc_info` by where it happened and the class of each error of the chain: the text of a foreign error
    (a key value in a database's detail, a rejected input) may identify a person, and must not reach a log."""
    if fields.get("logger") == "asyncio":  # its further lines show objects, with the text of their errors
        fields["event"] = str(fields["event"]).partition("\n")[0]
    error = fields.pop("exc_info", None)
    if error is True:
        error = sys.exc_info()[1]
    if isinstance(error, tuple):
        error = error[1]
    chain: list[str] = []
    while isinstance(error, BaseException) and len(chain) < 5:
        frames = traceback.extract_tb(error.__traceback__)[-6:]
        where = " < ".join(f"{frame.name} ({Path(frame.filename).name}:{frame.lineno})" for frame in reversed(frames))
        chain.append(f"{type(error).__name__} in {where}" if where else type(error).__name__)
        error = error.__cause__ or error.__context__
    if chain:
        fields["failure"] = chain
    return fields
