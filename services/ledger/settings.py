"""The ledger's settings, read once from the environment."""

from pydantic import Field

from chassis.settings import ServiceSettings


class LedgerSettings(ServiceSettings):
    """What the ledger may be told besides what every service may."""

    ledger_port: int = Field(default=50051, ge=0, le=65535)
    """Port to listen on; 0 takes a free one."""

    ledger_dsn: str
    """Address of the database, as the role that serves."""

    ledger_migration_dsn: str = ""
    """The same database as the role that owns the tables; the serving role's where empty."""

    ledger_buckets: int = Field(default=64, ge=1, le=4096)
    """How many buckets a new database gets; checked against an existing one."""

    ledger_lanes: int = Field(default=2, ge=1, le=64)
    """How many lanes write at once, each with a connection of its own.

    While one waits for the database, the other decides; more make batches smaller (`make bench`).
    """

    ledger_reads: int = Field(default=8, ge=1, le=256)
    """The most connections that read at once."""

    ledger_admin_connections: int = Field(default=4, ge=1, le=64)
    """The most connections that change organizations and programs at once."""
