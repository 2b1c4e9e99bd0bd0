"""Pending points made spendable before their time: their expiry counts from then on."""

from collections.abc import Sequence
from datetime import date

from services.ledger.domain import expiry
from services.ledger.domain.account import Kind, Lot
from services.ledger.domain.commands import ActivatePending
from services.ledger.domain.config import Expiry, ExpiryKind, RoundTo
from services.ledger.domain.fold import Fold, four
from services.ledger.domain.refusals import NothingPending, PostingNotFound, SettingOff
from services.ledger.domain.repayment import came_back


def activate(fold: Fold, operation: ActivatePending) -> None:
    """Mature pending lots now: of a posting, one lot, or all of a currency."""
    if not fold.policy.config.pending_conversion:
        raise SettingOff("points.pending_conversion")
    lots = _chosen(fold, operation)
    if not lots:
        raise NothingPending
    for lot in lots:
        _mature(fold, lot)
    came_back(fold, [(lot, lot.free) for lot in lots])


def _chosen(fold: Fold, operation: ActivatePending) -> Sequence[Lot]:
    currency = fold.policy.currency(operation.currency)
    pending = [lot for lot in fold.account.lots.values() if lot.pending and lot.free]
    if operation.posting:
        if operation.given is None:
            raise PostingNotFound(operation.posting)
        own, first, last = fold.account.key, *operation.given[1:]
        here = operation.given[0] == own
        pending = [
            lot
            for lot in pending
            if (here and first <= lot.sequence <= last)
            or (lot.origin is not None and lot.origin[:2] == operation.given[0]
                and first <= lot.origin[2] <= last)
        ]  # fmt: skip
        if not pending and not here:
            raise PostingNotFound(operation.posting)
    if operation.lot is not None:
        pending = [lot for lot in pending if lot.id == operation.lot]
    if not operation.posting and operation.lot is None:
        pending = [lot for lot in pending if lot.currency == currency.number]
    return sorted(pending, key=lambda lot: lot.sequence)


def _mature(fold: Fold, lot: Lot) -> None:
    balance = fold.balance(lot.currency)
    before = four(balance)
    fold.amend(lot, pending=False, mature_time=fold.now)
    terms = _terms(lot)
    if terms is not None:
        fold.amend(lot, expire_time=expiry.expire_time(terms, fold.now, fold.policy.zone))
    balance.pending -= lot.free
    balance.available += lot.free
    entry = fold.entry(Kind.MATURED, balance, lot.currency, before)
    entry.lot, entry.mature_time = lot.sequence, lot.mature_time
    instant = fold.expires(lot)
    entry.expire_time = None if instant == expiry.FOREVER else instant
    fold.name(lot)
    fold.seal(entry)


def _terms(lot: Lot) -> Expiry | None:
    """What its expiry is found by; None where that does not depend on when it matures."""
    if lot.expiry_days is None:
        return None
    if lot.expiry_kind is ExpiryKind.DATE:
        return Expiry("", ExpiryKind.DATE, date=date.fromordinal(lot.expiry_days))
    if lot.expiry_kind is not ExpiryKind.FIXED:
        return None
    return Expiry(
        "",
        ExpiryKind.FIXED,
        days=lot.expiry_days,
        months=lot.inactivity_months,
        round_to=RoundTo(lot.expiry_round or 0),
    )
