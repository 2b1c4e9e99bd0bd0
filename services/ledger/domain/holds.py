"""Holds: available points of specific lots set aside, and given back or redeemed later."""

from dataclasses import replace
from datetime import timedelta

from kernel.refusals import FieldViolation, InvalidField
from services.ledger.domain.account import Hold, HoldState, Kind, Lot
from services.ledger.domain.commands import CaptureHold, CreateHold, ReleaseHold
from services.ledger.domain.fold import Fold, four
from services.ledger.domain.refusals import HoldClosed, InsufficientPoints
from services.ledger.domain.repayment import came_back, meet_claims
from services.ledger.domain.spending import check_spendable, spendable_currency

LENGTH = timedelta(hours=1)
LENGTH_MAX = timedelta(days=400)

Parts = tuple[tuple[int, int], ...]


def create(fold: Fold, operation: CreateHold) -> None:
    """Set available points aside, those first that expire first."""
    posting = fold.posting
    assert posting is not None
    deadline = operation.expire_time or fold.now + LENGTH
    if not fold.now < deadline <= fold.now + LENGTH_MAX:
        raise InvalidField(FieldViolation("expire_time", "must lie within 400 days from now"))
    currency = spendable_currency(fold, operation.currency)
    available = fold.account.balance(currency.number).available
    check_spendable(fold.account.balance(currency.number), fold.policy.config, operation.points)
    if available < operation.points:
        raise InsufficientPoints(available, operation.points)
    balance = fold.balance(currency.number)
    before = four(balance)
    draws = fold.draw(currency.number, operation.points)
    balance.available -= operation.points
    balance.held += operation.points
    entry = fold.entry(Kind.HELD, balance, currency.number, before, operation.points)
    entry.draws, entry.expire_time = draws, deadline
    for sequence, points in draws:
        lot = fold.account.lots[sequence]
        fold.set_aside(lot, points)
        fold.name(lot)
    fold.seal(entry)
    hold = Hold(
        sequence=entry.sequence,
        currency=currency.number,
        points=operation.points,
        parts=draws,
        create_time=posting.record_time,
        expire_time=deadline,
        fresh=True,
    )
    fold.put_hold(hold)
    fold.due_at(deadline)
    posting.hold = replace(hold)


def capture(fold: Fold, operation: CaptureHold) -> None:
    """Redeem held points, in the order in which they were drawn; release the rest."""
    posting = fold.posting
    assert posting is not None
    hold = _open(fold, operation)
    points = operation.points or hold.points
    if points > hold.points:
        raise InsufficientPoints(hold.points, points)
    fold.active(posting.effective_time)
    taken, rest = _split(hold.parts, points)
    balance = fold.balance(hold.currency)
    before = four(balance)
    balance.held -= points
    balance.redeemed += points
    entry = fold.entry(Kind.CAPTURED, balance, hold.currency, before, points)
    entry.draws, entry.related = taken, hold.sequence
    for sequence, part in taken:
        lot = fold.account.lots[sequence]
        fold.set_aside(lot, -part)
        fold.name(lot)
    fold.seal(entry)
    fold.close_hold(hold, HoldState.CAPTURED, points)
    if rest:
        came_back(fold, _give_back(fold, hold, rest, Kind.RELEASED))
    posting.hold = replace(hold)


def release(fold: Fold, operation: ReleaseHold) -> None:
    """Give held points back."""
    hold = _open(fold, operation)
    fold.close_hold(hold, HoldState.RELEASED)
    came_back(fold, _give_back(fold, hold, hold.parts, Kind.RELEASED))
    assert fold.posting is not None
    fold.posting.hold = replace(hold)


def lapse(fold: Fold, hold: Hold) -> None:
    """Give held points back at the deadline; what is dead by then expires in its own turn."""
    fold.close_hold(hold, HoldState.LAPSED)
    meet_claims(fold, _give_back(fold, hold, hold.parts, Kind.LAPSED))


def _open(fold: Fold, operation: CaptureHold | ReleaseHold) -> Hold:
    if operation.account != fold.account.key:
        # Accounts are joined without holds, so it was closed in the account that it was in.
        raise HoldClosed(operation.id, operation.state.name)
    hold = fold.account.holds[operation.hold]
    if hold.state is not HoldState.OPEN:
        raise HoldClosed(operation.id, hold.state.name)
    return hold


def _give_back(fold: Fold, hold: Hold, parts: Parts, kind: Kind) -> list[tuple[Lot, int]]:
    balance = fold.balance(hold.currency)
    before = four(balance)
    points = sum(part for _, part in parts)
    balance.held -= points
    balance.available += points
    entry = fold.entry(kind, balance, hold.currency, before)
    entry.draws, entry.related = parts, hold.sequence
    returned: list[tuple[Lot, int]] = []
    for sequence, part in parts:
        lot = fold.account.lots[sequence]
        fold.set_aside(lot, -part)
        fold.give_back(lot, part)
        fold.name(lot)
        returned.append((lot, part))
    fold.seal(entry)
    return returned


def _split(parts: Parts, points: int) -> tuple[Parts, Parts]:
    """The first so many points of what was drawn, and the rest."""
    first: list[tuple[int, int]] = []
    rest: list[tuple[int, int]] = []
    for sequence, part in parts:
        taken = min(part, points)
        points -= taken
        if taken:
            first.append((sequence, taken))
        if part > taken:
            rest.append((sequence, part - taken))
    return tuple(first), tuple(rest)
