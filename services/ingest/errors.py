"""Errors that only ingest has."""

from shared.core.errors import CloseloopError


class UnsupportedMediaType(CloseloopError):
    """The body is in a form that this endpoint does not read."""

    status = 415
    title = "Unsupported media type"
