"""Settings that every service has, read once from the environment."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal, Self, TypeVar

from pydantic import Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

PREFIX: Final = "LOYALTY_"


class WrongSettings(ValueError):
    """The environment says what cannot be; the message is for the person who set it."""


class ServiceSettings(BaseSettings):
    """What every service may be told, each as `LOYALTY_` and the field's name in capitals.

    Services subclass it with fields of their own; `services/X/settings.py` reads it once, and
    nothing else looks at the environment.
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore")

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
    """Port of the Prometheus endpoint; none where unset, a free one where 0."""

    metrics_host: str = "127.0.0.1"
    """Address that the Prometheus endpoint listens on. Anybody who reaches it may read it."""

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """The least severe level that is written."""

    log_json: bool = True
    """Whether log lines are JSON; otherwise they are coloured for a terminal."""

    otlp_endpoint: str = Field(default="", pattern="^(https?://.+)?$")
    """An OpenTelemetry collector (OTLP over gRPC), such as `http://collector:4317`, that spans are
    sent to; none where empty.
    """

    trace_sample: float = Field(default=0.1, ge=0, le=1)
    """The share of the traces begun here whose spans are sent; a caller's own traces as it says."""

    access_log_sample: float = Field(default=1.0, ge=0, le=1)
    """The share of successful calls that are logged; refusals and faults always are."""

    @model_validator(mode="after")
    def _certificates_come_together(self) -> Self:
        paths = (self.tls_certificate_path, self.tls_key_path, self.tls_ca_path)
        if any(paths) and not all(paths):
            raise ValueError(
                "LOYALTY_TLS_CERTIFICATE_PATH, LOYALTY_TLS_KEY_PATH and LOYALTY_TLS_CA_PATH come"
                " together"
            )
        return self


class NamesErased(ServiceSettings):
    """Settings of a service that publishes who was erased."""

    erasure_days: float = Field(default=30.0, ge=0.001, le=3_650)
    """How long the stream says who was erased, for those who follow it late; then it is forgotten.

    A follower that was away for longer begins anew.
    """


class CallsLedger(ServiceSettings):
    """Settings of a service that calls the ledger."""

    ledger_port: int = Field(default=50051, ge=1, le=65535)
    """Loopback port of the ledger where `ledger_address` says no other."""

    ledger_address: str = ""
    """Address of the ledger, such as `ledger:50051`."""

    def ledger_target(self) -> str:
        """Where the ledger is."""
        return self.ledger_address or f"127.0.0.1:{self.ledger_port}"


class CallsTiers(ServiceSettings):
    """Settings of a service that calls the tiers."""

    tiers_port: int = Field(default=50053, ge=1, le=65535)
    """Loopback port of the tiers where `tiers_address` says no other."""

    tiers_address: str = ""
    """Address of the tiers, such as `tiers:50053`."""

    def tiers_target(self) -> str:
        """Where the tiers are."""
        return self.tiers_address or f"127.0.0.1:{self.tiers_port}"


Settings = TypeVar("Settings", bound=ServiceSettings)


def read_settings(kind: type[Settings]) -> Settings:
    """A service's settings from the environment. `WrongSettings` names the variables."""
    try:
        return kind.model_validate({})
    except ValidationError as error:
        raise WrongSettings("; ".join(_sentences(error))) from None


def wrong_settings(kind: type[ServiceSettings], environment: Mapping[str, str]) -> list[str]:
    """What is wrong in an environment that a service is about to get, a sentence a variable.

    What is missing is not wrong: whoever starts the service may still add it, which is a text.
    """
    given = {
        name: environment.get(variable_of(name), "")
        for name, field in kind.model_fields.items()
        if variable_of(name) in environment or field.is_required()
    }
    try:
        kind.model_validate(given)
    except ValidationError as error:
        return _sentences(error)
    return []


def variable_of(field: str) -> str:
    """The environment variable of a setting."""
    return PREFIX + field.upper()


def _sentences(error: ValidationError) -> list[str]:
    return [_sentence(each) for each in error.errors(include_url=False)]


def _sentence(error: Any) -> str:
    said = error["msg"].removeprefix("Value error, ")
    if not error["loc"]:
        return str(said)
    name = str(error["loc"][0])
    if error["type"] == "missing":
        return f"{variable_of(name)} is not set"
    # An address of a database holds a password.
    value = "wrong" if name.endswith("dsn") else repr(error["input"])
    return f"{variable_of(name)} is {value}: {said[:1].lower()}{said[1:]}"
