"""The ledger: what members have, what programs can count, and what happened."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import grpc.aio

from chassis.call import outgoing_metadata, remaining_seconds
from chassis.channels import Metadata
from chassis.peers import BUSY, answer, refusal_of_error
from chassis.refusals import (
    CredentialInvalid,
    DeadlinePassed,
    DependencyUnavailable,
    ScopeMissing,
)
from kernel.ids import microseconds
from kernel.refusals import CounterNotFound, MemberNotFound, ProgramNotFound
from loyalty.ledger.v1 import ledger_pb2, program_pb2, resources_pb2
from loyalty.ledger.v1.ledger_pb2_grpc import LedgerServiceStub
from loyalty.ledger.v1.program_pb2_grpc import ProgramServiceStub
from services.tiers.domain.ladder import Window
from services.tiers.domain.membership import Reading

NAME = "ledger"
POINTS_EARNED = "points_earned"
RETRIED = (
    "/loyalty.ledger.v1.LedgerService/GetAccount",
    "/loyalty.ledger.v1.LedgerService/BatchGetAccounts",
    "/loyalty.ledger.v1.ProgramService/GetProgram",
    "/loyalty.ledger.v1.ProgramService/ListCounters",
    "/loyalty.ledger.v1.ProgramService/ListCurrencies",
)
# What the ledger says about the request, or about the credential that it was made with.
_PASSED = BUSY | {
    ProgramNotFound.reason,
    MemberNotFound.reason,
    CounterNotFound.reason,
    ScopeMissing.reason,
    CredentialInvalid.reason,
}


@dataclass(frozen=True, slots=True)
class ProgramClock:
    """A program's now, and whether that is a clock of its own."""

    now: datetime
    sandbox: bool


class Ledger:
    """The ledger's answers as values of the domain.

    Calls carry the credential of the call that is worked on, or the one given. Where the ledger
    cannot be had they refuse with DEPENDENCY_UNAVAILABLE.
    """

    def __init__(self, channel: grpc.aio.Channel) -> None:
        # The stubs' types are those of the synchronous channel, too.
        self._accounts: Any = LedgerServiceStub(channel)
        self._programs: Any = ProgramServiceStub(channel)

    async def account(self, program: str, member: str, windows: Sequence[Window]) -> Reading:
        """One member's account, as a member's own credential may ask for it, too.

        Refusals: PROGRAM_NOT_FOUND, MEMBER_NOT_FOUND, COUNTER_NOT_FOUND.
        """
        request = ledger_pb2.GetAccountRequest(
            program=program, member=member, windows=[_window(each, None) for each in windows]
        )
        return _reading(await _answer(self._accounts.GetAccount, request), windows)

    async def accounts(
        self,
        program: str,
        members: Sequence[str],
        windows: Sequence[Window],
        *,
        time: datetime | None = None,
        credential: Metadata | None = None,
    ) -> dict[str, Reading]:
        """The accounts of up to 1,000 different members; those who are not enrolled are left out.

        `time` is an instant in the windows; the program's now where it is None.
        Refusals: PROGRAM_NOT_FOUND, COUNTER_NOT_FOUND.
        """
        request = ledger_pb2.BatchGetAccountsRequest(
            program=program, members=members, windows=[_window(each, time) for each in windows]
        )
        found = await _answer(self._accounts.BatchGetAccounts, request, credential)
        return {
            each.addressed_member or each.member: _reading(each, windows) for each in found.accounts
        }

    async def counters(self, program: str) -> frozenset[str]:
        """The names of everything that a window of the program can sum. PROGRAM_NOT_FOUND."""
        counters = await _answer(
            self._programs.ListCounters, program_pb2.ListCountersRequest(program=program)
        )
        currencies = await _answer(
            self._programs.ListCurrencies, program_pb2.ListCurrenciesRequest(program=program)
        )
        return frozenset(
            [
                POINTS_EARNED,
                *(each.counter for each in counters.counters),
                *(f"{POINTS_EARNED}:{each.currency}" for each in currencies.currencies),
            ]
        )

    async def clock(self, program: str) -> ProgramClock:
        """The program's now. PROGRAM_NOT_FOUND."""
        found = await _answer(
            self._programs.GetProgram, program_pb2.GetProgramRequest(program=program)
        )
        return ProgramClock(found.now.ToDatetime(tzinfo=UTC), found.sandbox)

    def watch(self, cursors: Mapping[int, int], credential: Metadata) -> Any:
        """The ledger's stream of changes after the cursors, as a call of gRPC."""
        request = ledger_pb2.WatchChangesRequest(cursors=dict(cursors))
        return self._accounts.WatchChanges(request, metadata=credential)

    async def end_of_stream(
        self, cursors: Mapping[int, int], credential: Metadata
    ) -> dict[int, int]:
        """The cursors after everything that is recorded now, reading on from those given."""
        position = dict(cursors)
        call = self.watch(cursors, credential)
        try:
            async with asyncio.timeout(remaining_seconds()):
                async for response in call:
                    position.update(response.cursors)
                    if response.HasField("current_time"):
                        return position
        except TimeoutError:
            raise DeadlinePassed from None
        except grpc.aio.AioRpcError as error:
            raise refusal_of_error(error, NAME, _PASSED) from error
        finally:
            call.cancel()
        raise DependencyUnavailable(NAME)


async def _answer(method: Any, request: Any, credential: Metadata | None = None) -> Any:
    metadata = outgoing_metadata() if credential is None else credential
    return await answer(method, request, metadata, NAME, passed=_PASSED)


def _window(window: Window, time: datetime | None) -> resources_pb2.CounterWindow:
    message = resources_pb2.CounterWindow(
        counter=window.counter,
        period=resources_pb2.CounterWindow.Period.ValueType(window.period),
        length=window.length,
    )
    if time is not None:
        micros = microseconds(time)
        message.time.seconds, message.time.nanos = (
            micros // 1_000_000,
            micros % 1_000_000 * 1_000,
        )
    return message


def _reading(account: resources_pb2.Account, windows: Sequence[Window]) -> Reading:
    values = [each.value for each in account.counters]
    return Reading(
        enrol_time=account.enrol_time.ToDatetime(tzinfo=UTC),
        values=dict(zip(windows, values, strict=True)),
        time=account.read_time.ToDatetime(tzinfo=UTC),
        version=account.version,
        holder=account.member if account.addressed_member else "",
    )
