"""What a ledger and the reference model must agree on."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime

import pytest

from loyalty.ledger.v1 import ledger_pb2, resources_pb2
from tests.properties import messages
from tests.properties.driver import Driver, same
from tests.properties.messages import instant, stamp
from tests.properties.model import Program
from tests.properties.model_shapes import Account, Answer, Entry, Lot, Refused
from tests.properties.rebuilt import rebuild

# The running totals in the order of the message, by what adds to them.
TOTALS = (
    ("EARNED",),
    ("EARNING_REVERSED",),
    ("REDEEMED", "CAPTURED"),
    ("REDEMPTION_RESTORED",),
    ("EXPIRED",),
    ("ADJUSTED_IN",),
    ("ADJUSTED_OUT",),
    ("TRANSFERRED_IN",),
    ("TRANSFERRED_OUT",),
)
STATES = resources_pb2.Account.State


def assert_same_refusal(theirs: Refused, ours: Refused) -> None:
    """The same reason, and the model's metadata among theirs."""
    assert theirs.reason == ours.reason, f"{theirs.reason} {theirs.metadata}, not {ours}"
    both = {key: theirs.metadata.get(key) for key in ours.metadata}
    assert both == ours.metadata, (theirs.reason, theirs.metadata, ours.metadata)


def differences(theirs: Sequence[Entry], ours: Sequence[Entry]) -> list[str]:
    """What differs between two lists of entries, field by field."""
    found = []
    if len(theirs) != len(ours):
        kinds = [[entry.kind for entry in entries] for entries in (theirs, ours)]
        found = [f"{len(theirs)} entries, not {len(ours)}: {kinds[0]}, not {kinds[1]}"]
    for their, our in zip(theirs, ours, strict=False):
        both = zip(vars(their).items(), vars(our).values(), strict=True)
        found += [
            f"entry {our.sequence} {our.kind} {name}: {value!r}, not {expected!r}"
            for (name, value), expected in both
            if value != expected
        ]
    return found


def assert_same_answer(theirs: Answer, ours: Answer) -> None:
    """Every field of every entry, the version, the value, and whether it is a replay."""
    same("entries", differences(theirs.entries, ours.entries), [])
    same("received", differences(theirs.received, ours.received), [])
    same("answer", theirs, ours)


def numbers(message: resources_pb2.Balance) -> tuple[int, int, int, int]:
    """The four numbers of a balance."""
    return message.available, message.pending, message.held, message.debt


def assert_same_account(message: resources_pb2.Account, model: Program, account: Account) -> None:
    """Every number of the account but its counters."""
    assert_same_balances(message, model, account)
    activity = message.last_activity_time if message.HasField("last_activity_time") else None
    same("last activity", instant(activity) if activity else None, account.last_activity)
    same("version", message.version, account.version)
    same("sequence", message.sequence, len(account.entries))
    same("read time", instant(message.read_time), model.now)
    same("enrol time", instant(message.enrol_time), account.enrol_time)
    same("state", STATES.Name(message.state), "FROZEN" if account.frozen else "OPEN")


def assert_same_balances(message: resources_pb2.Account, model: Program, account: Account) -> None:
    """The four numbers and the running totals of each currency."""
    shown = {
        balance.currency: (
            *numbers(balance),
            *(getattr(balance.totals, field.name) for field in balance.totals.DESCRIPTOR.fields),
        )
        for balance in message.balances
    }
    expected = {
        currency: (
            model.available(account, currency),
            model.pending(account, currency),
            model.held(account, currency),
            model.debt(account, currency),
            *(model.total(account, currency, *kinds) for kinds in TOTALS),
        )
        for currency in model.currencies(account)
    }
    same("balances", list(shown.items()), list(expected.items()))
    for available, pending, held, debt, *totals in expected.values():
        earned, reversed_, redeemed, restored, expired, more, less, came, went = totals
        net = earned - reversed_ - redeemed + restored - expired + more - less + came - went
        assert available + pending + held - debt == net
        assert not (available and debt), "available and debt are both there"


def assert_same_past(driver: Driver, model: Program, member: str, time: datetime) -> None:
    """What was known at an instant, and what counts at it; `time` is not in the future."""
    known = model.known_at(member, time)
    record = ledger_pb2.AsOf(record_time=stamp(time))
    if known is None:
        with pytest.raises(Refused, match="MEMBER_NOT_FOUND"):
            driver.account_at(member, record)
    else:
        assert_same_balances(driver.account_at(member, record), model, known)
    effective = ledger_pb2.AsOf(effective_time=stamp(time))
    account = model.find(member)
    if all(entry.effective_time > time for entry in account.entries):
        with pytest.raises(Refused, match="MEMBER_NOT_FOUND"):
            driver.account_at(member, effective)
        return
    then = driver.account_at(member, effective)
    theirs = {balance.currency: numbers(balance) for balance in then.balances}
    for currency in model.currencies(account):
        counting = model.amounts_at(account, currency, time)
        same(f"{currency} as of {time}", theirs.get(currency, (0, 0, 0, 0)), counting)


def assert_follows_from_entries(driver: Driver, member: str) -> None:
    """What is stored of an account follows from its entries, and from nothing else."""
    rows = driver.pages("ListEntries", "entries", 1000, member=member)
    account = rebuild(driver.entries(member, rows[::-1]))
    shown = driver.account(member)
    stored = {balance.currency: list(numbers(balance)) for balance in shown.balances}
    known = {key: four for key, four in stored.items() if key in account.numbers}
    same("numbers", known, account.numbers)
    same("sequence", shown.sequence, len(rows))
    lots = driver.pages("ListLots", "lots", 1000, member=member)
    left = {lot.sequence: (lot.free, lot.held) for lot in lots}
    same("lots", left, account.lots_left())
    holds = driver.pages("ListHolds", "holds", 1000, member=member, include_closed=True)
    states = [resources_pb2.Hold.State.Name(hold.state) for hold in reversed(holds)]
    same("holds", states, list(account.holds.values()))


def assert_same_history(driver: Driver, model: Program, account: Account, size: int) -> None:
    """Entries, lots, holds and expirations, read in pages of `size`."""
    member = account.member
    rows = driver.pages("ListEntries", "entries", size, member=member)
    same("history", differences(driver.entries(member, rows[::-1]), account.entries), [])
    times = [instant(row.record_time) for row in rows[::-1]]
    assert times == sorted(times), "record times go back"
    assert all(time <= model.now for time in times)
    _assert_same_lots(driver, model, account, size)
    _assert_same_holds(driver, account, size)
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


def _assert_same_lots(driver: Driver, model: Program, account: Account, size: int) -> None:
    member = account.member
    lots = driver.pages("ListLots", "lots", size, member=member, include_closed=True)
    kinds = resources_pb2.ExpiryStrategy.Kind
    shown = [
        (
            lot.sequence,
            lot.currency,
            lot.points,
            lot.free,
            lot.held,
            instant(lot.earn_time),
            instant(lot.mature_time),
            _expiry_of_message(lot),
            kinds.Name(lot.expiry_kind),
        )
        for lot in lots
    ]
    expected = [
        (
            lot.sequence,
            lot.currency,
            lot.points,
            lot.free,
            lot.held,
            lot.earn_time,
            lot.mature_time,
            _expiry_of_model(model, account, lot),
            _kind_of_model(lot),
        )
        for lot in reversed(account.lots)
    ]
    same("lots", shown, expected)
    opened = driver.pages("ListLots", "lots", size, member=member)
    left = [lot.sequence for lot in lots if lot.free or lot.held]
    same("open lots", [lot.sequence for lot in opened], left)


def _kind_of_model(lot: Lot) -> str:
    return "FIXED" if lot.graced else lot.strategy.kind


def _expiry_of_message(lot: resources_pb2.Lot) -> datetime | None:
    # Activity after a lot is closed moves nothing that matters.
    idle = lot.expiry_kind == resources_pb2.ExpiryStrategy.INACTIVITY
    closed = idle and not lot.free and not lot.held
    return None if closed or not lot.HasField("expire_time") else instant(lot.expire_time)


def _expiry_of_model(model: Program, account: Account, lot: Lot) -> datetime | None:
    closed = _kind_of_model(lot) == "INACTIVITY" and not lot.free and not lot.held
    return None if closed else model.expire_time(account, lot)


def _assert_same_holds(driver: Driver, account: Account, size: int) -> None:
    if not account.holds:
        return
    lots = driver.lots[account.member]
    request_of = {driver.postings[account.member, hold.request_id]: hold for hold in account.holds}
    for closed in (True, False):
        rows = driver.pages(
            "ListHolds", "holds", size, member=account.member, include_closed=closed
        )
        shown = [messages.hold(row, request_of[row.hold].request_id, lots) for row in rows]
        expected = [
            replace(hold, sequence=0)
            for hold in reversed(account.holds)
            if closed or hold.state == "OPEN"
        ]
        same("holds", shown, expected)
    one = account.holds[-1]
    same("hold", driver.hold(account.member, one.request_id), replace(one, sequence=0))


def without_lots(answer: Answer) -> Answer:
    """An answer without the ids of lots, which a rehearsal does not give."""
    entries, received = (
        tuple(replace(entry, lot=0, draws=()) for entry in entries)
        for entries in (answer.entries, answer.received)
    )
    return replace(answer, entries=entries, received=received)
