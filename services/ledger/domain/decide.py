"""Deciding a command: a column of guards, each with its refusal, in the contract's order."""

from collections.abc import Callable, Sequence

from kernel.refusals import CounterNotFound, EffectiveTimeInFuture, Refusal
from services.ledger.domain import counters, holds
from services.ledger.domain.account import Account, Kind, Posting, State
from services.ledger.domain.activation import activate
from services.ledger.domain.commands import (
    ActivatePending,
    Adjust,
    CaptureHold,
    Command,
    Count,
    CreateHold,
    Earn,
    Enrol,
    Freeze,
    Import,
    Redeem,
    ReleaseHold,
    Reverse,
    Unfreeze,
    WriteOff,
)
from services.ledger.domain.earning import adjust, count, earn, require_open
from services.ledger.domain.fold import Fold
from services.ledger.domain.freezing import freeze, unfreeze
from services.ledger.domain.opening import import_member, write_off
from services.ledger.domain.permissions import Addressed, check_permission
from services.ledger.domain.postings import begin_posting
from services.ledger.domain.refusals import (
    CounterChanged,
    MemberExists,
    MemberFrozen,
    VersionChanged,
)
from services.ledger.domain.reversals import reverse
from services.ledger.domain.spending import redeem


def check_preconditions(fold: Fold, command: Command) -> None:
    """Refuse with PRECONDITION_CHANGED where what the caller read is no longer so.

    Counter months that the expectations name must be loaded. Done before settling: what time alone
    changes is no reason to refuse.
    """
    account = fold.account
    if command.expected_version is not None and command.expected_version != account.version:
        raise VersionChanged(account.version, command.expected_version)
    for expectation in command.expect:
        number = fold.policy.counter_numbers.get(expectation.name)
        if number is None:
            raise CounterNotFound(expectation.name)
        first, last = counters.bounds(expectation.window, fold.now, fold.policy.zone)
        months = {m: days for (n, m), days in account.counters.items() if n == number}
        actual = counters.total(months, first, last)
        if actual != expectation.value:
            raise CounterChanged(expectation.name, expectation.value, actual)


def decide(fold: Fold, command: Command, addressed: Addressed | None = None) -> Posting:
    """Apply a command to a settled account, or refuse and leave the account as it was.

    `addressed` is the member whose commands land in this account of another one.
    """
    account = fold.account
    posting = opened(fold, command, addressed)
    fold.begin()
    try:
        _enrol(fold, command)
        for index, operation in enumerate(command.operations):
            try:
                _OPERATIONS[type(operation)](fold, operation)
            except Refusal as refusal:
                if command.indexed:
                    refusal.metadata["operation"] = str(index)
                raise
    except BaseException:
        fold.rollback()
        raise
    fold.commit()
    account.version += 1
    account.enrolled = True
    account.touched = True
    return posting


def opened(
    fold: Fold,
    command: Command,
    addressed: Addressed | None = None,
    others: Sequence[tuple[Account, Addressed | None]] = (),
) -> Posting:
    """Begin the posting of a command, or refuse what any command is refused for.

    `others` are further accounts that it touches. Refusals: EFFECTIVE_TIME_IN_FUTURE,
    MEMBER_FROZEN, PERMISSION_MISSING.
    """
    account = fold.account
    effective_time = command.effective_time or fold.now
    if effective_time > fold.now:
        raise EffectiveTimeInFuture(fold.now)
    for touched, through in ((account, addressed), *others):
        if command.unlocks():
            break
        if through is not None and through.frozen:
            raise MemberFrozen(through.member)
        if touched.state is State.FROZEN:
            raise MemberFrozen(touched.member)
    if addressed is not None:
        for operation in command.operations:
            check_permission(addressed, operation)
    return begin_posting(
        fold,
        effective_time,
        request_id=command.request_id,
        digest=command.digest,
        actor=command.actor,
        reference=command.reference,
        addressed=addressed,
    )


def _enrol(fold: Fold, command: Command) -> None:
    account = fold.account
    first = command.operations[0]
    if account.enrolled:
        if isinstance(first, Enrol) or (isinstance(first, Import) and not first.balances):
            raise MemberExists(account.member)
        return
    assert fold.posting is not None
    if isinstance(first, Enrol):
        require_open(fold, fold.posting.effective_time)
    account.enrol_time = fold.posting.effective_time
    fold.seal(fold.entry(Kind.ENROLLED, None, None, (0, 0, 0, 0)))


def _nothing(fold: Fold, operation: Enrol) -> None:
    """Opening the account is all that it asks for."""


_OPERATIONS: dict[type, Callable[..., None]] = {
    Earn: earn,
    Redeem: redeem,
    Adjust: adjust,
    Count: count,
    Enrol: _nothing,
    Import: import_member,
    WriteOff: write_off,
    CreateHold: holds.create,
    CaptureHold: holds.capture,
    ReleaseHold: holds.release,
    ActivatePending: activate,
    Reverse: reverse,
    Freeze: freeze,
    Unfreeze: unfreeze,
}
