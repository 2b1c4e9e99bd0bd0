"""Drives a ledger over gRPC in the reference model's shapes, and compares the two."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import date, datetime
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
from tests.properties.messages import instant, refused, stamp
from tests.properties.model import Program
from tests.properties.model_shapes import (
    Account,
    Answer,
    Command,
    Entry,
    Lot,
    Refused,
    Settings,
    Window,
)

SECONDS = 20


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
        self.channel = grpc.insecure_channel(address)
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
        self.lots: dict[str, dict[str, int]] = {}
        default, *others = settings.currencies
        ledger.call(
            ledger.programs.CreateProgram,
            program_pb2.CreateProgramRequest(
                program=program,
                sandbox=True,
                start_time=stamp(now),
                currency_id=default,
                currency=messages.currency_message(settings, default),
                settings=messages.settings_message(settings),
            ),
        )
        for currency in others:
            ledger.call(
                ledger.programs.CreateCurrency,
                program_pb2.CreateCurrencyRequest(
                    program=program,
                    currency_id=currency,
                    currency=messages.currency_message(settings, currency),
                ),
            )
        for counter in settings.counters:
            ledger.call(
                ledger.programs.CreateCounter,
                program_pb2.CreateCounterRequest(program=program, counter_id=counter),
            )

    def configure(self, settings: Settings) -> None:
        """Replaces the settings; those of currencies stay."""
        message = messages.settings_message(settings)
        request = program_pb2.UpdateProgramSettingsRequest(program=self.program, settings=message)
        request.update_mask.paths.extend(
            [
                "points.maximum_balance",
                "points.daily_cap",
                "points.monthly_cap",
                "points.default_expiry",
                "redemption.minimum_balance",
                "redemption.step",
                "redemption.conversion_rate",
                "redemption.until",
                "program.auto_enrol",
                "program.start",
                "program.end",
            ]
        )
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
        stubs, value = self.ledger, None
        if not command.ops:
            answer = stubs.call(
                stubs.accounts.EnrolMember,
                account_pb2.EnrolMemberRequest(
                    program=self.program,
                    member=command.member,
                    request_id=command.request_id,
                    validate_only=command.validate_only,
                    effective_time=stamp(command.effective_time),
                    reference=command.reference,
                ),
            )
        elif command.single:
            method = getattr(stubs.ledger, type(command.ops[0]).__name__)
            answer = stubs.call(method, messages.single_request(self.program, command))
            if isinstance(answer, ledger_pb2.RedeemResponse) and answer.HasField("value"):
                assert answer.value.currency == self.settings.money
                value = Decimal(answer.value.amount)
        else:
            request = messages.post_request(self.program, command)
            answer = stubs.call(stubs.ledger.Post, request)
        assert bool(answer.posting.posting) != (command.validate_only and not answer.replayed)
        if answer.posting.posting:
            same("posting", self.posting(answer.posting.posting), answer.posting)
        return self.answer(answer.posting, answer.replayed, value), answer.account

    def batch(self, commands: Sequence[Command]) -> list[Answer | Refused]:
        """Sends commands as one batch of posts."""
        request = ledger_pb2.BatchPostRequest(
            program=self.program,
            requests=[messages.post_request("", command) for command in commands],
        )
        response = self.ledger.call(self.ledger.ledger.BatchPost, request)
        assert len(response.results) == len(commands)
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


# What the two must agree on


def assert_same_refusal(theirs: Refused, ours: Refused) -> None:
    """The same reason, and the model's metadata among theirs."""
    assert theirs.reason == ours.reason, f"{theirs.reason} {theirs.metadata}, not {ours.reason}"
    both = {key: theirs.metadata.get(key) for key in ours.metadata}
    assert both == ours.metadata, (theirs.reason, theirs.metadata, ours.metadata)


def differences(theirs: Sequence[Entry], ours: Sequence[Entry]) -> list[str]:
    """What differs between two lists of entries, field by field."""
    found = [] if len(theirs) == len(ours) else [f"{len(theirs)} entries, not {len(ours)}"]
    for their, our in zip(theirs, ours, strict=False):
        both = zip(vars(their).items(), vars(our).values(), strict=True)
        found += [
            f"entry {our.sequence} {our.kind} {name}: {value!r}, not {expected!r}"
            for (name, value), expected in both
            if value != expected
        ]
    return found


def same(what: str, theirs: object, ours: object) -> None:
    """The two are equal; where they are not, both are shown."""
    assert theirs == ours, f"{what}:\n  ledger {theirs}\n  model  {ours}"


def assert_same_answer(theirs: Answer, ours: Answer) -> None:
    """Every field of every entry, the version, the value, and whether it is a replay."""
    same("entries", differences(theirs.entries, ours.entries), [])
    same("answer", theirs, ours)


def assert_same_account(message: resources_pb2.Account, model: Program, account: Account) -> None:
    """Every number of the account but its counters."""
    shown = {
        balance.currency: (
            balance.available,
            balance.pending,
            *(getattr(balance.totals, field.name) for field in balance.totals.DESCRIPTOR.fields),
        )
        for balance in message.balances
    }
    assert not any(balance.held or balance.debt for balance in message.balances)

    def total(currency: str, kind: str) -> int:
        return model.total(account, currency, kind)

    expected = {
        currency: (
            model.available(account, currency),
            model.pending(account, currency),
            total(currency, "EARNED"),
            0,
            total(currency, "REDEEMED"),
            0,
            total(currency, "EXPIRED"),
            total(currency, "ADJUSTED_IN"),
            total(currency, "ADJUSTED_OUT"),
            0,
            0,
        )
        for currency in model.currencies(account)
    }
    same("balances", list(shown.items()), list(expected.items()))
    activity = message.last_activity_time if message.HasField("last_activity_time") else None
    same("last activity", instant(activity) if activity else None, account.last_activity)
    same("version", message.version, account.version)
    same("sequence", message.sequence, len(account.entries))
    same("read time", instant(message.read_time), model.now)
    same("enrol time", instant(message.enrol_time), account.enrol_time)
    assert message.state == resources_pb2.Account.OPEN


def assert_same_history(driver: Driver, model: Program, account: Account, size: int) -> None:
    """Entries, lots and expirations, read in pages of `size`."""
    member = account.member
    rows = driver.pages("ListEntries", "entries", size, member=member)
    same("history", differences(driver.entries(member, rows[::-1]), account.entries), [])
    times = [instant(row.record_time) for row in rows[::-1]]
    assert times == sorted(times), "record times go back"
    assert all(time <= model.now for time in times)
    lots = driver.pages("ListLots", "lots", size, member=member, include_closed=True)
    kinds = resources_pb2.ExpiryStrategy.Kind
    shown_lots = [
        (
            lot.sequence,
            lot.currency,
            lot.points,
            lot.free,
            instant(lot.earn_time),
            instant(lot.mature_time),
            _expiry_of_message(lot),
            kinds.Name(lot.expiry_kind),
        )
        for lot in lots
    ]
    expected_lots = [
        (
            lot.sequence,
            lot.currency,
            lot.points,
            lot.free,
            lot.earn_time,
            lot.mature_time,
            _expiry_of_model(model, account, lot),
            lot.strategy.kind,
        )
        for lot in reversed(account.lots)
    ]
    same("lots", shown_lots, expected_lots)
    opened = driver.pages("ListLots", "lots", size, member=member)
    same("open lots", [lot.sequence for lot in opened], [lot.sequence for lot in lots if lot.free])
    upcoming = [
        (
            date(row.date.year, row.date.month, row.date.day),
            row.currency,
            instant(row.expire_time),
            row.points,
        )
        for row in driver.pages("ListExpirations", "expirations", size, member=member)
    ]
    # Soonest first; how currencies of one date are ordered is the ledger's affair, as long as pages
    # are complete.
    same("dates of expiry", [row[0] for row in upcoming], sorted(row[0] for row in upcoming))
    same("expirations", sorted(upcoming), model.expirations(account))


def _expiry_of_message(lot: resources_pb2.Lot) -> datetime | None:
    # Activity after a lot is closed moves nothing that matters.
    closed = lot.expiry_kind == resources_pb2.ExpiryStrategy.INACTIVITY and not lot.free
    return None if closed or not lot.HasField("expire_time") else instant(lot.expire_time)


def _expiry_of_model(model: Program, account: Account, lot: Lot) -> datetime | None:
    closed = lot.strategy.kind == "INACTIVITY" and not lot.free
    return None if closed else model.expire_time(account, lot)


def without_lots(answer: Answer) -> Answer:
    """An answer without the ids of lots, which a rehearsal does not give."""
    return replace(
        answer, entries=tuple(replace(entry, lot=0, draws=()) for entry in answer.entries)
    )
