"""The settings of the audience service, read once from the environment."""

from pathlib import Path

from pydantic import Field

from chassis.settings import ServiceSettings


class AudienceSettings(ServiceSettings):
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

    ledger_port: int = Field(default=50051, ge=1, le=65535)
    """Loopback port of the ledger where `ledger_address` says no other."""

    ledger_address: str = ""
    """Address of the ledger, such as `ledger:50051`."""

    tiers_port: int = Field(default=50053, ge=1, le=65535)
    """Loopback port of the tiers where `tiers_address` says no other."""

    tiers_address: str = ""
    """Address of the tiers, such as `tiers:50053`."""

    service_key_path: Path = Path(".loyalty/keys/signing.json")
    """The private key that this service's own tokens are signed with, a JSON Web Key."""

    def ledger_target(self) -> str:
        """Where the ledger is."""
        return self.ledger_address or f"127.0.0.1:{self.ledger_port}"

    def tiers_target(self) -> str:
        """Where the tiers are."""
        return self.tiers_address or f"127.0.0.1:{self.tiers_port}"
