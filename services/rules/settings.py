"""The settings of rules, read once from the environment."""

from pathlib import Path

from pydantic import Field

from chassis.settings import ServiceSettings


class RulesSettings(ServiceSettings):
    """What rules may be told besides what every service may."""

    rules_port: int = Field(default=50052, ge=0, le=65535)
    """Port to listen on; 0 takes a free one."""

    rules_dsn: str
    """Address of the database, as the role that serves."""

    rules_migration_dsn: str = ""
    """The same database as the role that owns the tables; the serving role's where empty."""

    rules_writes: int = Field(default=8, ge=1, le=256)
    """How many connections write."""

    rules_reads: int = Field(default=8, ge=1, le=256)
    """The most connections that read at once."""

    ledger_port: int = Field(default=50051, ge=1, le=65535)
    """Loopback port of the ledger where `ledger_address` says no other."""

    ledger_address: str = ""
    """Address of the ledger, such as `ledger:50051`."""

    tiers_port: int = Field(default=50053, ge=1, le=65535)
    """Loopback port of the tiers where `tiers_address` says no other."""

    tiers_address: str = ""
    """Address of the tiers, such as `tiers:50053`."""

    service_key_path: Path | None = None
    """Private key (JWK) that credentials of the service's own are signed with. Without one
    unfinished events wait until somebody submits them again.
    """

    rules_tiers_seconds: float = Field(default=1.0, gt=0, le=30)
    """How long an answer waits for the member's tier."""

    rules_redrive_after_seconds: float = Field(default=5.0, gt=0, le=3600)
    """After how long an unfinished event is taken up."""

    rules_redrive_every_seconds: float = Field(default=2.0, gt=0, le=3600)
    """How often unfinished events are looked for."""

    def ledger_target(self) -> str:
        """Where the ledger is."""
        return self.ledger_address or f"127.0.0.1:{self.ledger_port}"

    def tiers_target(self) -> str:
        """Where the tiers are."""
        return self.tiers_address or f"127.0.0.1:{self.tiers_port}"
