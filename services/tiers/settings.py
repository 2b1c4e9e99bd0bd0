"""The settings of the tiers, read once from the environment."""

from pathlib import Path

from pydantic import Field

from chassis.settings import CallsLedger, NamesErased


class TiersSettings(CallsLedger, NamesErased):
    """What the tiers may be told besides what every service may."""

    tiers_port: int = Field(default=50053, ge=0, le=65535)
    """Port to listen on; 0 takes a free one."""

    tiers_dsn: str
    """Address of the database, as the role that serves."""

    tiers_migration_dsn: str = ""
    """The same database as the role that owns the tables; the serving role's where empty."""

    tiers_buckets: int = Field(default=64, ge=1, le=4096)
    """How many buckets a new database gets; checked against an existing one."""

    tiers_writes: int = Field(default=4, ge=2, le=64)
    """How many connections write; one of them is the follower's."""

    tiers_reads: int = Field(default=8, ge=1, le=256)
    """The most connections that read at once."""

    service_key_path: Path = Path(".loyalty/keys/signing.json")
    """The private key that the tokens of jobs are signed with, a JSON Web Key."""
