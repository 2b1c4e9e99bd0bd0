"""Redeeming points of several programs at once, and giving them back to where they came from."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from services.ledger.domain import expiry
from services.ledger.domain.account import Kind, Posting, State
from services.ledger.domain.commands import Command, RedeemAcross, Reverse
from services.ledger.domain.config import AcrossPrograms
from services.ledger.domain.decide import opened
from services.ledger.domain.fold import Fold, four
from services.ledger.domain.moves import all_or_nothing, applied, share_now, side_posting
from services.ledger.domain.permissions import Addressed, allows, check_permission
from services.ledger.domain.refusals import (
    InDebt,
    InsufficientPoints,
    ReversalExceeds,
    SettingOff,
)
from services.ledger.domain.reversals import SPENT, left_of, reverse
from services.ledger.domain.spending import debit, spendable_currency

Postings = list[tuple[Fold, Posting]]

_SETTING = "redemption.across_programs"


@dataclass(frozen=True, slots=True)
class Source:
    """An account of the member in one program."""

    program: str
    fold: Fold
    addressed: Addressed | None = None


def redeem_across(
    first: Source, others: Sequence[Source], command: Command, operation: RedeemAcross
) -> Postings:
    """Spend points of settled accounts, whose programs know the same instant.

    The first is that of the program addressed; its posting is always there.
    Refusals: those of any command, SETTING_OFF, PROGRAM_INACTIVE, IN_DEBT, INSUFFICIENT_POINTS.
    """
    share_now([first.fold, *(source.fold for source in others)])
    if not operation.programs:
        others = [source for source in others if _gives(source, command, operation)]
    others = sorted(others, key=lambda source: source.program)
    sources = [first, *others]
    touched = [(source.fold.account, source.addressed) for source in others]
    posting = opened(first.fold, command, first.addressed, touched)
    for source in others:
        if source.addressed is not None:
            check_permission(source.addressed, operation)
    if any(source.fold.policy.config.across_programs is AcrossPrograms.OFF for source in sources):
        raise SettingOff(_SETTING)
    postings = [(first.fold, posting)]
    postings += [
        (source.fold, side_posting(source.fold, posting, source.addressed)) for source in others
    ]
    for source in sources:
        spendable_currency(source.fold, "")
    for source in sources:
        debt = source.fold.account.balance(0).debt
        if debt:
            raise InDebt(debt)
    parts = _split(sources, operation.points)
    with all_or_nothing([source.fold for source in sources]):
        for source, part in zip(sources, parts, strict=True):
            if part or source is first:
                source.fold.active(posting.effective_time)
                debit(source.fold, source.fold.policy.currency(""), part, Kind.REDEEMED, part)
    return applied(postings)


def _gives(source: Source, command: Command, operation: RedeemAcross) -> bool:
    """Whether a program that nobody named takes part."""
    account, config = source.fold.account, source.fold.policy.config
    through = source.addressed
    if account.state is State.FROZEN or account.balance(0).debt:
        return False
    if through is not None and (through.frozen or not allows(through, operation)):
        return False
    instant = command.effective_time or source.fold.now
    over = config.until is not None and instant >= config.until
    return config.across_programs is not AcrossPrograms.OFF and not over


def _split(sources: Sequence[Source], points: int) -> list[int]:
    """How many points each gives, by the strategy of the first; or INSUFFICIENT_POINTS."""
    available = [source.fold.account.balance(0).available for source in sources]
    if sum(available) < points:
        raise InsufficientPoints(sum(available), points)
    strategy = sources[0].fold.policy.config.across_programs
    if strategy is AcrossPrograms.PROPORTIONAL:
        return largest_remainder(points, available)
    lots = []
    for place, source in enumerate(sources):
        account, zone = source.fold.account, source.fold.policy.zone
        for lot in account.lots.values():
            if lot.currency == 0 and lot.free and not lot.pending:
                expires, earned, sequence = expiry.spending_order(
                    lot, account.last_activity_time, zone
                )
                lots.append((expires, earned, place, sequence, lot.free))
    parts = [0] * len(sources)
    for _, _, place, _, free in sorted(lots):
        taken = min(free, points)
        parts[place] += taken
        points -= taken
    return parts


def largest_remainder(points: int, weights: Sequence[int]) -> list[int]:
    """Points shared in proportion to weights, of which there are as many in all; ties by place."""
    total = sum(weights)
    if not total:
        return [0] * len(weights)
    parts = [points * weight // total for weight in weights]
    order = sorted(range(len(weights)), key=lambda n: (-(points * weights[n] % total), n))
    for place in order[: points - sum(parts)]:
        parts[place] += 1
    return parts


@dataclass(frozen=True, slots=True)
class Part:
    """What one account gave to a redemption, to be given back to it."""

    fold: Fold
    operation: Reverse
    addressed: Addressed | None = None


def reverse_across(parts: Sequence[Part], command: Command) -> Postings:
    """Give back a redemption across programs, all that is left of it or so many points.

    The first part is of the posting that was named. Points are shared in proportion to what is left
    of each. Refusals: those of any command, SETTING_OFF, REVERSAL_EXCEEDS, POINTS_OVERFLOW.
    """
    first, *others = parts
    share_now([part.fold for part in parts])
    touched = [(part.fold.account, part.addressed) for part in others]
    posting = opened(first.fold, command, first.addressed, touched)
    for part in parts:
        if part.operation.by_operator and not part.fold.policy.config.redemption_reversal:
            raise SettingOff("redemption.reversal")
    lefts = [_left(part) for part in parts]
    wanted = first.operation.points or sum(lefts)
    if not wanted or wanted > sum(lefts):
        raise ReversalExceeds(sum(lefts), max(1, wanted))
    postings = [(first.fold, posting)]
    postings += [(part.fold, side_posting(part.fold, posting, part.addressed)) for part in others]
    with all_or_nothing([part.fold for part in parts]):
        for part, points in zip(parts, largest_remainder(wanted, lefts), strict=True):
            if points:
                reverse(part.fold, replace(part.operation, points=points, parts=()))
        if not posting.entries:
            _nothing_came_back(first)
    return applied(postings)


def _left(part: Part) -> int:
    spent = [entry for entry in part.operation.entries if entry.kind in SPENT]
    return sum(left_of(part.fold, part.operation.account, entry) for entry in spent)


def _nothing_came_back(part: Part) -> None:
    """The request's own posting says so, where all came from other programs."""
    balance = part.fold.balance(0)
    entry = part.fold.entry(Kind.REDEMPTION_RESTORED, balance, 0, four(balance))
    entry.reason = part.operation.reason or None
    part.fold.seal(entry)
