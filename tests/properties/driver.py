"""Drives a ledger over gRPC in the reference model's shapes."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any, cast

import grpc
from google.rpc import status_pb2

from loyalty.ledger.v1 import (
    account_pb2,
    account_pb2_grpc,
    ledger_pb2,
    ledger_pb2_grpc,
    program_pb2,
    program_pb2_grpc,
    resources_pb2,
)
from tests.properties import messages
from tests.properties.lone_requests import OF_ACCOUNTS, Names, lone_request
from tests.properties.messages import instant, refused, stamp
from tests.properties.messages_settings import CHANGEABLE, currency_message, settings_message
from tests.properties.model_shapes import (
    Answer,
    Command,
    Entry,
    Hold,
    Op,
    Refused,
    Reversal,
    Settings,
    Window,
)

SECONDS = 20
# Whoever was killed is back soon.
QUICK_AGAIN = (
    ("grpc.initial_reconnect_backoff_ms", 50),
    # For so long it tries to connect: a busy machine is not a dead server, which refuses at once.
    ("grpc.min_reconnect_backoff_ms", 2_000),
    ("grpc.max_reconnect_backoff_ms", 200),
)


@contextmanager
def refusals() -> Iterator[None]:
    """Turns a call's refusal into `Refused`; anything else is a failure of the test."""
    try:
        yield
    except grpc.RpcError as error:
        status = status_of(error)
        if status is None:
            raise
        raise refused(status) from None


def status_of(error: grpc.RpcError) -> status_pb2.Status | None:
    """The `google.rpc.Status` that came with an error, if one did."""
    # What a synchronous stub raises is a call as well, which its types do not say.
    call = cast("Any", error)
    for key, value in call.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            status = status_pb2.Status.FromString(value)
            assert status.code == call.code().value[0], status
            return status
    return None


class Ledger:
    """Stubs of one ledger with one credential, synchronous."""

    def __init__(self, address: str, token: str) -> None:
        self.channel = grpc.insecure_channel(address, options=QUICK_AGAIN)
        self.ledger = ledger_pb2_grpc.LedgerServiceStub(self.channel)
        self.programs = program_pb2_grpc.ProgramServiceStub(self.channel)
        self.accounts = account_pb2_grpc.AccountServiceStub(self.channel)
        self.metadata = (("authorization", f"Bearer {token}"),)

    def call(self, method: Callable[..., Any], request: object) -> Any:
        """One call with the credential and a deadline; refusals are raised as `Refused`."""
        with refusals():
            return method(request, metadata=self.metadata, timeout=SECONDS)

    def register(self, organization: str) -> None:
        """Registers the organization of the credential."""
        request = program_pb2.CreateOrganizationRequest(organization=organization)
        request.settings.multiple_programs = True
        request.settings.bulk_updates = True
        self.call(self.programs.CreateOrganization, request)

    def close(self) -> None:
        """Lets the channel go."""
        self.channel.close()


class Driver:
    """One sandbox program in a real ledger."""

    def __init__(self, ledger: Ledger, program: str, settings: Settings, now: datetime) -> None:
        self.ledger, self.program, self.settings = ledger, program, settings
        # Of each member, which entry made a lot; and of each request, the posting that it made.
        self.lots: dict[str, dict[str, int]] = {}
        self.postings: dict[tuple[str, str], str] = {}
        self.reads_back = True
        default, *others = settings.currencies
        ledger.call(
            ledger.programs.CreateProgram,
            program_pb2.CreateProgramRequest(
                program=program,
                sandbox=True,
                start_time=stamp(now),
                currency_id=default,
                currency=currency_message(settings, default),
                settings=settings_message(settings),
            ),
        )
        for currency in others:
            ledger.call(
                ledger.programs.CreateCurrency,
                program_pb2.CreateCurrencyRequest(
                    program=program,
                    currency_id=currency,
                    currency=currency_message(settings, currency),
                ),
            )
        for counter in settings.counters:
            ledger.call(
                ledger.programs.CreateCounter,
                program_pb2.CreateCounterRequest(program=program, counter_id=counter),
            )

    def configure(self, settings: Settings) -> None:
        """Replaces the settings; those of currencies stay."""
        message = settings_message(settings)
        request = program_pb2.UpdateProgramSettingsRequest(program=self.program, settings=message)
        request.update_mask.paths.extend(CHANGEABLE)
        self.ledger.call(self.ledger.programs.UpdateProgramSettings, request)
        self.settings = settings

    def advance(self, time: datetime) -> int:
        """Moves the clock; answers how many accounts had something due."""
        request = program_pb2.AdvanceClockRequest(program=self.program, time=stamp(time))
        answer = self.ledger.call(self.ledger.programs.AdvanceClock, request)
        assert instant(answer.time) == time
        return int(answer.settled_accounts)

    def do(self, command: Command) -> tuple[Answer, resources_pb2.Account]:
        """Sends a command by its own method, or as a post."""
        known = {member: dict(lots) for member, lots in self.lots.items()}
        answer = self.ledger.call(*self._call_of(command))
        assert bool(answer.posting.posting) != (command.validate_only and not answer.replayed)
        if answer.posting.posting:
            self.postings[command.member, command.request_id] = answer.posting.posting
            if self.reads_back:
                same("posting", self.posting(answer.posting.posting), answer.posting)
        value, reversal, received = None, None, tuple[Entry, ...]()
        if isinstance(answer, ledger_pb2.RedeemResponse | ledger_pb2.CaptureHoldResponse):
            value = self._worth(answer)
        if isinstance(answer, ledger_pb2.ReversePostingResponse):
            reversal = Reversal(answer.reversed, answer.unrecovered, answer.expired)
        if isinstance(answer, ledger_pb2.TransferPointsResponse):
            received = self.entries(answer.received.member, answer.received.entries)
        result = self.answer(answer.posting, answer.replayed, value)
        if not answer.posting.posting:
            # Lots of a rehearsal are not there afterwards.
            self.lots = known
        return replace(result, reversal=reversal, received=received), answer.account

    def _worth(
        self, answer: ledger_pb2.RedeemResponse | ledger_pb2.CaptureHoldResponse
    ) -> Decimal | None:
        if not answer.HasField("value"):
            return None
        assert answer.value.currency == self.settings.money
        return Decimal(answer.value.amount)

    def _call_of(self, command: Command) -> tuple[Callable[..., Any], object]:
        """The method and the request of a command."""
        stubs = self.ledger
        if not command.ops:
            return stubs.accounts.EnrolMember, account_pb2.EnrolMemberRequest(
                program=self.program,
                member=command.member,
                request_id=command.request_id,
                validate_only=command.validate_only,
                effective_time=stamp(command.effective_time),
                reference=command.reference,
                billing_day=command.billing_day,
            )
        op = command.ops[0]
        if not isinstance(op, Op):
            names = Names(command.member, self.postings, self.lots.get(command.member, {}))
            request = lone_request(self.program, command, op, names)
            service = stubs.accounts if isinstance(op, OF_ACCOUNTS) else stubs.ledger
            return getattr(service, type(op).__name__), request
        if command.single:
            method = getattr(stubs.ledger, type(op).__name__)
            return method, messages.single_request(self.program, command)
        return stubs.ledger.Post, messages.post_request(self.program, command)

    def batch(self, commands: Sequence[Command]) -> list[Answer | Refused]:
        """Sends commands as one batch of posts."""
        request = ledger_pb2.BatchPostRequest(
            program=self.program,
            requests=[messages.post_request("", command) for command in commands],
        )
        response = self.ledger.call(self.ledger.ledger.BatchPost, request)
        assert len(response.results) == len(commands)
        for command, result in zip(commands, response.results, strict=True):
            if result.posting.posting:
                self.postings[command.member, command.request_id] = result.posting.posting
        return [
            self.answer(result.posting, result.replayed, None)
            if result.HasField("posting")
            else refused(result.status)
            for result in response.results
        ]

    def answer(
        self, posting: resources_pb2.Posting, replayed: bool, value: Decimal | None
    ) -> Answer:
        """A posting in the model's shape."""
        assert posting.program == self.program
        return Answer(
            self.entries(posting.member, posting.entries),
            posting.version,
            instant(posting.effective_time),
            value,
            replayed,
        )

    def entries(self, member: str, entries: Sequence[resources_pb2.Entry]) -> tuple[Entry, ...]:
        """Entries, oldest first, in the model's shape."""
        lots = self.lots.setdefault(member, {})
        return tuple(messages.entry(entry, lots) for entry in entries)

    def account(self, member: str, windows: Sequence[Window] = ()) -> resources_pb2.Account:
        """`GetAccount`."""
        request = ledger_pb2.GetAccountRequest(
            program=self.program,
            member=member,
            windows=[messages.window_message(window) for window in windows],
        )
        account: resources_pb2.Account = self.ledger.call(self.ledger.ledger.GetAccount, request)
        return account

    def accounts(
        self, members: Sequence[str], windows: Sequence[Window] = ()
    ) -> list[resources_pb2.Account]:
        """`BatchGetAccounts`; whoever is not there is said to be missing."""
        request = ledger_pb2.BatchGetAccountsRequest(
            program=self.program,
            members=members,
            windows=[messages.window_message(window) for window in windows],
        )
        answer = self.ledger.call(self.ledger.ledger.BatchGetAccounts, request)
        found = [account.member for account in answer.accounts]
        assert list(answer.missing) == [who for who in members if who not in found]
        return list(answer.accounts)

    def account_at(self, member: str, as_of: ledger_pb2.AsOf) -> resources_pb2.Account:
        """`GetAccount` of an instant in the past."""
        request = ledger_pb2.GetAccountRequest(program=self.program, member=member, as_of=as_of)
        account: resources_pb2.Account = self.ledger.call(self.ledger.ledger.GetAccount, request)
        return account

    def hold(self, member: str, request_id: str) -> Hold:
        """`GetHold` of the hold that a request made, in the model's shape."""
        name = self.postings[member, request_id]
        request = ledger_pb2.GetHoldRequest(program=self.program, hold=name)
        found = self.ledger.call(self.ledger.ledger.GetHold, request)
        assert (found.hold, found.member) == (name, member), found
        return messages.hold(found, request_id, self.lots.setdefault(member, {}))

    def posting(self, posting: str) -> resources_pb2.Posting:
        """`GetPosting`."""
        request = ledger_pb2.GetPostingRequest(program=self.program, posting=posting)
        found: resources_pb2.Posting = self.ledger.call(self.ledger.ledger.GetPosting, request)
        return found

    def pages(self, method: str, field: str, size: int, **query: Any) -> list[Any]:
        """Everything that a listing of a member answers, page by page."""
        request_type = getattr(ledger_pb2, f"{method}Request")
        rows: list[Any] = []
        token = ""
        while True:
            request = request_type(program=self.program, page_size=size, page_token=token, **query)
            page = self.ledger.call(getattr(self.ledger.ledger, method), request)
            found = list(getattr(page, field))
            assert len(found) <= size
            rows += found
            token = page.next_page_token
            if not token:
                return rows

    def verified(self, member: str) -> list[str]:
        """What `VerifyAccount` finds."""
        request = ledger_pb2.VerifyAccountRequest(program=self.program, member=member)
        answer = self.ledger.call(self.ledger.ledger.VerifyAccount, request)
        assert answer.ok == (not answer.findings)
        return [str(finding) for finding in answer.findings]


def same(what: str, theirs: object, ours: object) -> None:
    """The two are equal; where they are not, both are shown."""
    assert theirs == ours, f"{what}:\n  ledger {theirs}\n  model  {ours}"
