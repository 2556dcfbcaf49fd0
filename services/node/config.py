"""Settings of the single node. Each service reads its own on top of these."""

from pydantic import Field

from shared.core.settings import Settings


class NodeSettings(Settings):
    """Where the node listens, and the workspace its first key belongs to."""

    http_host: str = Field(default="127.0.0.1", description="Address to listen on.")
    http_port: int = Field(default=8080, ge=0, le=65535, description="Port; when taken, the next free one is used.")
    workspace: str = Field(
        default="main",
        pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$",
        description="Workspace that the first start makes a key for (the demo uses `lale`).",
    )
