"""Settings of the gateway, read once from the environment."""

import re
from pathlib import Path
from typing import Final

from pydantic import Field, field_validator

from chassis.settings import CallsLedger, CallsTiers

_ORIGIN: Final = re.compile(r"https?://([a-z0-9.-]+|\[[0-9a-f:]+\])(:[0-9]{1,5})?")


class GatewaySettings(CallsLedger, CallsTiers):
    """What the gateway may be told, each as `LOYALTY_` and the field's name in capitals."""

    http_port: int = Field(default=8080, ge=0, le=65535)
    """Port of the HTTP interface; 0 takes a free one."""

    gateway_port: int = Field(default=50050, ge=0, le=65535)
    """Port of the gateway's own gRPC services; 0 takes a free one."""

    rules_port: int = Field(default=50052, ge=1, le=65535)
    """Loopback port of the rules where `rules_address` says no other."""

    rules_address: str = ""
    """Address of the rules, such as `rules:50052`."""

    audience_port: int = Field(default=50054, ge=1, le=65535)
    """Loopback port of the audience where `audience_address` says no other."""

    audience_address: str = ""
    """Address of the audience, such as `audience:50054`."""

    credentials_path: Path = Path(".loyalty/credentials.json")
    """Hashed API keys; read again when it changes."""

    signing_path: Path = Path(".loyalty/keys/signing.json")
    """The private key that tokens are signed with, a JSON Web Key."""

    token_lifetime_seconds: int = Field(default=300, ge=10, le=3600)
    """How long the tokens hold that are minted for calls with an API key."""

    quota_rate: float = Field(default=2000.0, ge=0)
    """Calls a second that one credential may make in the long run; 0 means any number."""

    quota_burst: int = Field(default=4000, ge=1)
    """Calls that one credential may make at once after a rest."""

    request_timeout_seconds: float = Field(default=10.0, gt=0)
    """How long a request may take that does not say so itself."""

    request_timeout_seconds_max: float = Field(default=60.0, gt=0)
    """How long a request may ask to take."""

    profile_part_seconds: float = Field(default=2.0, gt=0)
    """How long the slowest part of a profile is waited for."""

    body_bytes_max: int = Field(default=4 * 1024 * 1024, ge=1024)
    """The largest body that is read."""

    cors_origins: str = ""
    """Origins, separated by commas, whose pages may call from a browser, such as
    `https://shop.example`; `*` alone is any; none where empty.
    """

    channels_each: int = Field(default=2, ge=1, le=64)
    """Connections to each service."""

    @field_validator("cors_origins")
    @classmethod
    def _origins_are_origins(cls, text: str) -> str:
        for each in _split(text):
            if not _ORIGIN.fullmatch(each) and text.strip() != "*":
                raise ValueError(
                    f"{each!r} is no origin: a scheme and a host, such as https://shop.example,"
                    " or * alone"
                )
        return text

    def allowed_origins(self) -> tuple[str, ...]:
        """The origins whose pages may call."""
        return _split(self.cors_origins)

    def targets(self) -> dict[str, str]:
        """The addresses of the other services, by name."""
        return {
            "ledger": self.ledger_target(),
            "rules": self.rules_address or f"127.0.0.1:{self.rules_port}",
            "tiers": self.tiers_target(),
            "audience": self.audience_address or f"127.0.0.1:{self.audience_port}",
        }


def _split(text: str) -> tuple[str, ...]:
    return tuple(filter(None, (each.strip() for each in text.split(","))))
