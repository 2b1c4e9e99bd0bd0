"""The ledger: programs, members, and the stream of what happened to them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import grpc.aio

from chassis.credentials import OwnCredentials
from chassis.peers import answer
from kernel.refusals import MemberNotFound, Refusal
from loyalty.ledger.v1 import ledger_pb2, program_pb2, resources_pb2
from loyalty.ledger.v1.ledger_pb2_grpc import LedgerServiceStub
from loyalty.ledger.v1.program_pb2_grpc import ProgramServiceStub
from services.audience.domain.profile import Kind, Line, Posting
from services.audience.peers.calls import PASSED, erased_of, newer

NAME: Final = "ledger"
RETRIED: Final = (
    "/loyalty.ledger.v1.LedgerService/GetAccount",
    "/loyalty.ledger.v1.ProgramService/GetProgram",
    "/loyalty.ledger.v1.ProgramService/ListCurrencies",
)

_KINDS: Final[Mapping[int, Kind]] = {
    resources_pb2.Entry.ENROLLED: Kind.ENROLLED,
    resources_pb2.Entry.EARNED: Kind.EARNED,
    resources_pb2.Entry.REDEEMED: Kind.REDEEMED,
    resources_pb2.Entry.CAPTURED: Kind.REDEEMED,
    resources_pb2.Entry.EARNING_REVERSED: Kind.EARNING_REVERSED,
}


@dataclass(frozen=True, slots=True)
class ProgramFacts:
    """A program: its now, whether that is a clock of its own, and its default currency."""

    now: datetime
    sandbox: bool
    currency: str


@dataclass(frozen=True, slots=True)
class PostingFact:
    """A change as the stream tells it: a posting, or who was erased, (organization, member).

    Neither, for what does not concern profiles.
    """

    bucket: int
    sequence: int
    posting: Posting | None
    erased: tuple[str, str] | None = None


class Ledger:
    """The ledger's answers as values of the domain, asked on this service's own account.

    Where the ledger cannot be had they refuse with DEPENDENCY_UNAVAILABLE.
    """

    def __init__(self, channel: grpc.aio.Channel, credentials: OwnCredentials) -> None:
        # The stubs' types are those of the synchronous channel, too.
        self._accounts: Any = LedgerServiceStub(channel)
        self._programs: Any = ProgramServiceStub(channel)
        self._credentials = credentials

    async def program(self, organization: str, program: str) -> ProgramFacts:
        """A program. PROGRAM_NOT_FOUND."""
        found = await self._ask(
            self._programs.GetProgram, program_pb2.GetProgramRequest(program=program), organization
        )
        return ProgramFacts(found.now.ToDatetime(tzinfo=UTC), found.sandbox, found.currency)

    async def currencies(self, organization: str, program: str) -> frozenset[str]:
        """The ids of a program's currencies. PROGRAM_NOT_FOUND."""
        request = program_pb2.ListCurrenciesRequest(program=program)
        found = await self._ask(self._programs.ListCurrencies, request, organization)
        return frozenset(each.currency for each in found.currencies)

    async def knows(self, organization: str, program: str, member: str) -> bool:
        """Whether a member is enrolled. PROGRAM_NOT_FOUND."""
        request = ledger_pb2.GetAccountRequest(program=program, member=member)
        try:
            await self._ask(self._accounts.GetAccount, request, organization)
        except Refusal as refusal:
            if refusal.reason == MemberNotFound.reason:
                return False
            raise
        return True

    def watch(self, cursors: Mapping[int, int]) -> Any:
        """The stream of changes after the cursors, as a call of gRPC."""
        request = ledger_pb2.WatchChangesRequest(cursors=dict(cursors))
        return self._accounts.WatchChanges(request, metadata=self._credentials.following())

    async def newer(self, cursors: Mapping[int, int]) -> dict[int, int] | None:
        """Cursors after the next changes; None where nothing newer is recorded."""
        return await newer(self.watch, dict(cursors), NAME)

    async def _ask(self, method: Any, request: Any, organization: str) -> Any:
        metadata = self._credentials.acting_for(organization)
        return await answer(method, request, metadata, NAME, passed=PASSED)


def posting_facts(changes: Iterable[resources_pb2.Change]) -> list[PostingFact]:
    """Changes of the ledger's stream as values."""
    return [
        PostingFact(
            change.bucket,
            change.sequence,
            _posting(change) if _account_member(change) else None,
            erased_of(change),
        )
        for change in changes
    ]


def _account_member(change: resources_pb2.Change) -> str:
    """Whose account a posting landed in; empty for what is no posting, and for who was erased."""
    if change.WhichOneof("fact") != "posting":
        return ""
    return change.posting.account_member or change.posting.member


def _posting(change: resources_pb2.Change) -> Posting:
    lines = [
        Line(
            entry.sequence,
            _KINDS.get(entry.kind, Kind.OTHER),
            entry.currency,
            entry.points,
            entry.after.available,
            entry.after.available + entry.after.pending + entry.after.held - entry.after.debt,
            entry.effective_time.ToDatetime(tzinfo=UTC),
        )
        for entry in change.posting.entries
    ]
    return Posting(change.organization, change.program, _account_member(change), lines)
