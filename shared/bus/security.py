"""How a process proves to Kafka who it is, and how it knows that it talks to Kafka: KAFKA_* of the settings."""

import ssl
from dataclasses import dataclass, field
from typing import Any

from pydantic import SecretStr

from shared.core.settings import Settings, SettingsError


@dataclass(frozen=True, slots=True)
class Security:
    """Plain, unless something else is said. Read once; clients are made of it as often as they are renewed."""

    options: dict[str, Any] = field(default_factory=dict, repr=False)  # as aiokafka's clients take them


PLAIN = Security()


def security_of(settings: Settings) -> Security:
    """Raises SettingsError when KAFKA_CA_FILE cannot be read or holds no certificate."""
    protocol = settings.kafka_security_protocol
    options: dict[str, Any] = {"security_protocol": protocol}
    if protocol.endswith("SSL"):
        options["ssl_context"] = _trusting(settings)
    if protocol.startswith("SASL"):
        options |= {
            "sasl_mechanism": settings.kafka_sasl_mechanism,
            "sasl_plain_username": settings.kafka_sasl_username,
            "sasl_plain_password": _text(settings.kafka_sasl_password),
        }
    return Security(options) if protocol != "PLAINTEXT" else PLAIN


def _trusting(settings: Settings) -> ssl.SSLContext:
    """The system's authorities, or those of KAFKA_CA_FILE alone; the broker's name is checked in both cases."""
    file = settings.kafka_ca_file
    try:
        return ssl.create_default_context(cafile=str(file) if file else None)
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(f"KAFKA_CA_FILE: {file} holds no certificates in PEM form ({error})") from None


def _text(secret: SecretStr) -> str:
    return secret.get_secret_value()
