"""What routes of ingest say of their problems in OpenAPI."""

from typing import Any

from shared.http.problems import MEDIA_TYPE

UNAVAILABLE = "Neither the bus nor the spool is in reach: nothing is promised; send it again after Retry-After."
NO_KEY = "No valid API key."
NO_ROLE = "The key lacks the role."
TOO_LARGE = "The body is over 256 KiB."


def problems(**reasons: str) -> dict[int | str, dict[str, Any]]:
    """Answers of a route that are problems, by `status_<number>`."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {
        int(name.removeprefix("status_")): {"description": reason, "content": content}
        for name, reason in reasons.items()
    }
