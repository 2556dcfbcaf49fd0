"""Settings of ingest."""

from pydantic import Field, SecretStr

from shared.runtime.process import ProcessSettings


class IngestSettings(ProcessSettings):
    """Settings of the ingest process."""

    secrets_key: SecretStr = Field(
        default=SecretStr(""),
        description="Encrypts the secrets of sources at rest: 32 bytes in base64 (`openssl rand -base64 32`). "
        "Empty: a key file in DATA_DIR, made at the first start; every process that reads sources needs the same key.",
    )
    ingest_requests_per_second: float = Field(
        default=5000,
        gt=0,
        description="What one workspace may send to one process of ingest, with two seconds' worth at once; above it "
        "the answer is 429.",
    )
    ingest_in_flight: int = Field(
        default=2000, gt=0, description="Requests under way in one process of ingest; above it the answer is 503."
    )
    outbound_allow_private: bool = Field(
        default=False,
        description="Let webhooks go to, and sources fetch from, loopback and private addresses, by http and on any "
        "port: single node only.",
    )
