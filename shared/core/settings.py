"""Base of every settings class. One environment, one `.env`, one spelling: upper-case names without a prefix."""

from pathlib import Path
from typing import Literal, Self, TypeVar

from pydantic import Field, SecretStr, ValidationError, model_validator
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
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        default="PLAINTEXT",
        description="How to talk to Kafka: PLAINTEXT, SSL, SASL_SSL; SASL_PLAINTEXT where the network is trusted.",
    )
    kafka_sasl_mechanism: Literal["SCRAM-SHA-256", "SCRAM-SHA-512", "PLAIN"] = Field(
        default="SCRAM-SHA-512", description="SCRAM-SHA-512, SCRAM-SHA-256 or PLAIN."
    )
    kafka_sasl_username: str = Field(
        default="", description="A user for each service; `closeloop topics acls` lists what each may do."
    )
    kafka_sasl_password: SecretStr = Field(default=SecretStr(""), description="Its password.")
    kafka_ca_file: Path | None = Field(
        default=None, description="Certificates (PEM) that a broker's must come from. Empty: those of the system."
    )
    data_dir: Path = Field(default=Path(".data"), description="Where the single node keeps its database and keys.")
    log_format: str = Field(
        default="auto", pattern="^(auto|json|console)$", description="auto: readable on a terminal, else JSON."
    )
    log_level: str = Field(
        default="info", pattern="^(debug|info|warning|error)$", description="Least level that is logged."
    )

    @model_validator(mode="after")
    def _possible_security(self) -> Self:
        protocol = self.kafka_security_protocol
        named = bool(self.kafka_sasl_username and self.kafka_sasl_password.get_secret_value())
        if protocol.startswith("SASL") and not named:
            raise ValueError(f"KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD are needed for {protocol}")
        if not protocol.startswith("SASL") and self.kafka_sasl_username:
            raise ValueError(
                f"KAFKA_SASL_USERNAME has no meaning with {protocol}; set KAFKA_SECURITY_PROTOCOL=SASL_SSL"
            )
        if not protocol.endswith("SSL") and self.kafka_ca_file:
            raise ValueError(
                f"KAFKA_CA_FILE has no meaning with {protocol}; set KAFKA_SECURITY_PROTOCOL=SASL_SSL or SSL"
            )
        return self


def load(kind: type[S], **overrides: object) -> S:
    """Read settings of `kind` from the environment. Raises SettingsError with one line per wrong setting."""
    try:
        return kind(**overrides)  # type: ignore[arg-type]
    except ValidationError as error:
        lines = (f"{'.'.join(str(part) for part in fault['loc']).upper()}: {fault['msg']}" for fault in error.errors())
        raise SettingsError("; ".join(lines)) from None
