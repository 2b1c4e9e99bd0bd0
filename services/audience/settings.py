"""The settings of the audience service, read once from the environment."""

from pathlib import Path

from pydantic import Field

from chassis.settings import CallsLedger, CallsTiers


class AudienceSettings(CallsLedger, CallsTiers):
    """What the audience service may be told besides what every service may."""

    audience_port: int = Field(default=50054, ge=0, le=65535)
    """Port to listen on; 0 takes a free one."""

    audience_dsn: str
    """Address of the database, as the role that serves."""

    audience_migration_dsn: str = ""
    """The same database as the role that owns the tables; the serving role's where empty."""

    audience_writes: int = Field(default=4, ge=3, le=64)
    """How many connections write; each followed stream takes one of them."""

    audience_reads: int = Field(default=8, ge=1, le=256)
    """The most connections that read at once."""

    service_key_path: Path = Path(".loyalty/keys/signing.json")
    """The private key that this service's own tokens are signed with, a JSON Web Key."""
