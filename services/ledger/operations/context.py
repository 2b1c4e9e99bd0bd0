"""What the use cases of organizations and programs work with."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from chassis.database import Pool
from kernel.ids import bucket_of
from kernel.refusals import ProgramNotFound
from services.ledger.domain.programs import Known
from services.ledger.store.program_writes import find_program, publish_change
from services.ledger.store.programs import ProgramCache, ProgramState
from services.ledger.store.tables import Database, Transaction


class Settler(Protocol):
    """Does what is due, under the accounts' locks."""

    async def settle(self, accounts: Sequence[tuple[int, int]], /, *, again: bool = False) -> None:
        """Settle accounts, (bucket, account), of one program to its now; answers when committed.

        With `again` also those of which nothing is known to be due.
        """


@dataclass(frozen=True, slots=True)
class Caller:
    """On whose behalf: the organization that owns what is touched, and who is recorded."""

    organization: str
    actor: str


@dataclass(frozen=True, slots=True)
class ProgramContext:
    """The process's parts that these use cases need. `clock` answers the server's now in UTC."""

    engine: Database
    reads: Pool
    cache: ProgramCache
    settler: Settler
    buckets: int
    known: Known
    clock: Callable[[], datetime]
    surrogate: Callable[[datetime], int]

    async def publish(
        self, connection: Transaction, program: ProgramState, record_time: datetime
    ) -> None:
        """Append to the stream that the program changed. Last in its transaction."""
        await publish_change(connection, program, self.bucket(program), record_time)

    def bucket(self, program: ProgramState) -> int:
        """The bucket in whose stream a program's changes appear."""
        return bucket_of(program.organization, program.id, self.buckets)


async def locked_program(connection: Transaction, organization: str, program: str) -> ProgramState:
    """The program, locked until commit, or ProgramNotFound."""
    state = await find_program(connection, organization, program, lock=True)
    if state is None:
        raise ProgramNotFound(program)
    return state
