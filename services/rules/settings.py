"""The settings of rules, read once from the environment."""

from pathlib import Path

from pydantic import Field

from chassis.settings import CallsLedger, CallsTiers


class RulesSettings(CallsLedger, CallsTiers):
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

    service_key_path: Path | None = None
    """Private key (JWK) that credentials of the service's own are signed with. Without one
    unfinished events wait until somebody submits them again, and events of members who are erased
    stay as they are.
    """

    rules_tiers_seconds: float = Field(default=1.0, gt=0, le=30)
    """How long an answer waits for the member's tier."""

    rules_redrive_after_seconds: float = Field(default=5.0, gt=0, le=3600)
    """After how long an unfinished event is taken up."""

    rules_redrive_every_seconds: float = Field(default=2.0, gt=0, le=3600)
    """How often unfinished events are looked for."""
