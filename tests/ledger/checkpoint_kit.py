"""A ledger that keeps checkpoints, and short ways to use it."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chassis.signing import ensure_key_pair
from loyalty.ledger.v1 import ledger_pb2, proof_pb2
from loyalty.proof import History, public_key_of, read_checkpoints
from services.ledger.store.checkpoint_file import NAME
from testkit.postgres import TestDatabase
from tests.ledger.programs_kit import LedgerUnderTest, ledger_under_test


@dataclass
class Kept:
    """A ledger that keeps checkpoints, and its folder."""

    ledger: LedgerUnderTest
    folder: Path
    public: Path
    dsn: str

    @property
    def file(self) -> Path:
        """The file of checkpoints."""
        return self.folder / NAME

    async def earn(self, *members: str, points: int = 10) -> None:
        """Give members points."""
        for member in members:
            await self.ledger.points.Earn(
                ledger_pb2.EarnRequest(
                    program="p1", member=member, points=points, request_id=os.urandom(8).hex()
                )
            )

    async def checkpoint(self, **fields: Any) -> proof_pb2.Checkpoint:
        """Make one."""
        request = proof_pb2.CreateCheckpointRequest(**fields)
        made: proof_pb2.Checkpoint = await self.ledger.proof.CreateCheckpoint(request)
        return made

    def history(self, lines: list[bytes] | None = None) -> History:
        """What the file says to somebody who has the public key."""
        whole = self.file.read_bytes().splitlines(keepends=True) if lines is None else lines
        return read_checkpoints(whole, public_key_of(self.public.read_bytes()))


@asynccontextmanager
async def keeping(database: TestDatabase, folder: Path, **changes: Any) -> AsyncIterator[Kept]:
    private, public = folder / "private.pem", folder / "public.pem"
    ensure_key_pair(private, public)
    kept = folder / "kept"
    async with ledger_under_test(
        database,
        buckets=4,
        checkpoint_path=kept,
        checkpoint_key_path=private,
        **{"checkpoint_minutes": 0, **changes},
    ) as ledger:
        yield Kept(ledger, kept, public, database.dsn)
