"""Base of every settings class. One environment, one `.env`, one spelling: upper-case names without a prefix."""

from pathlib import Path
from typing import TypeVar

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from shared.core.errors import CloseloopError

S = TypeVar("S", bound="Settings")


class SettingsError(CloseloopError):
    """A setting is missing or wrong; the message names it and what it takes."""

    title = "Wrong setting"


class Settings(BaseSettings):
    """Settings every process has. Impossible values fail at start, with a sentence."""

    model_config = SettingsConfigDict(env_file=".env", extra="ignore", frozen=True)

    database_url: str = Field(
        default="",
        description="PostgreSQL, as postgresql://user:password@host:port/name. Empty: an embedded server in DATA_DIR.",
    )
    bus_url: str = Field(
        default="postgres",
        description="`postgres` for the log inside the database, or kafka://host:port[,host:port…].",
    )
    data_dir: Path = Field(default=Path(".data"), description="Where the single node keeps its database and keys.")
    log_format: str = Field(
        default="auto", pattern="^(auto|json|console)$", description="auto: readable on a terminal, else JSON."
    )
    log_level: str = Field(
        default="info", pattern="^(debug|info|warning|error)$", description="Least level that is logged."
    )


def load(kind: type[S], **overrides: object) -> S:
    """Read settings of `kind` from the environment. Raises SettingsError with one line per wrong setting."""
    try:
        return kind(**overrides)  # type: ignore[arg-type]
    except ValidationError as error:
        lines = (f"{'.'.join(str(part) for part in fault['loc']).upper()}: {fault['msg']}" for fault in error.errors())
        raise SettingsError("; ".join(lines)) from None
