"""Settings that every service has, read once from the environment."""

from pathlib import Path
from typing import Self

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class ServiceSettings(BaseSettings):
    """What every service may be told, each as `LOYALTY_` and the field's name in capitals.

    Services subclass it with fields of their own; `services/X/settings.py` reads it once, and
    nothing else looks at the environment.
    """

    model_config = SettingsConfigDict(env_prefix="LOYALTY_", frozen=True, extra="ignore")

    host: str = "127.0.0.1"
    """Address to listen on."""

    allow_plaintext: str = ""
    """Names of services, separated by commas, that may serve without TLS beyond loopback."""

    tls_certificate_path: Path | None = None
    """This service's certificate chain (PEM); together with the key and the authority."""

    tls_key_path: Path | None = None
    """The certificate's private key (PEM)."""

    tls_ca_path: Path | None = None
    """The authority whose client certificates are required (PEM): TLS is always mutual."""

    jwks_path: Path = Path(".loyalty/keys/jwks.json")
    """Public keys of the gateway, a JSON Web Key Set; read again when an unknown key is named."""

    reuse_port: bool = False
    """Whether several processes may share the port."""

    max_in_flight: int = Field(default=512, ge=1)
    """Unary calls worked on at once; one more is refused."""

    max_streams: int = Field(default=256, ge=1)
    """Streams open at once; one more is refused."""

    default_deadline_seconds: float = Field(default=10.0, gt=0)
    """The deadline of a unary call that brings none."""

    max_message_bytes: int = Field(default=4 * 1024 * 1024, ge=1024)
    """The largest request that is read."""

    drain_seconds: float = Field(default=20.0, ge=0)
    """How long calls in flight may take to finish when the server stops."""

    keepalive_seconds: float = Field(default=30.0, gt=0)
    """How often an idle connection is probed."""

    metrics_port: int | None = Field(default=None, ge=0, le=65535)
    """Loopback port of the Prometheus endpoint; none where unset, a free one where 0."""

    log_level: str = Field(default="INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$")
    """The least severe level that is written."""

    log_json: bool = True
    """Whether log lines are JSON; otherwise they are coloured for a terminal."""

    access_log_sample: float = Field(default=1.0, ge=0, le=1)
    """The share of successful calls that are logged; refusals and faults always are."""

    @model_validator(mode="after")
    def _certificates_come_together(self) -> Self:
        paths = (self.tls_certificate_path, self.tls_key_path, self.tls_ca_path)
        if any(paths) and not all(paths):
            raise ValueError("tls_certificate_path, tls_key_path and tls_ca_path come together")
        return self
