"""The ledger's settings, read once from the environment."""

from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from chassis.settings import NamesErased


class LedgerSettings(NamesErased):
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

    checkpoint_path: Path | None = None
    """Folder outside the database in which signed checkpoints are kept; none are where unset."""

    checkpoint_key_path: Path | None = None
    """The private Ed25519 key (PEM) that signs them; together with the folder."""

    checkpoint_minutes: float = Field(default=15.0, ge=0, le=10_080)
    """How often a checkpoint is made; 0 makes them when asked, and at the end of serving."""

    @model_validator(mode="after")
    def _checkpoints_are_signed(self) -> Self:
        if (self.checkpoint_path is None) != (self.checkpoint_key_path is None):
            raise ValueError(
                "LOYALTY_CHECKPOINT_PATH and LOYALTY_CHECKPOINT_KEY_PATH come together"
            )
        return self
