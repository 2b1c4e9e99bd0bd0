"""Joining and leaving a group: links, the points that come along, the share that is taken."""

from collections.abc import Mapping

from kernel.refusals import FieldViolation, InvalidField
from services.ledger.domain.account import AccountKind, Kind, Link, Posting
from services.ledger.domain.commands import AddGroupMember, Command, RemoveGroupMember
from services.ledger.domain.config import ProgramConfig
from services.ledger.domain.decide import opened
from services.ledger.domain.fold import Fold
from services.ledger.domain.groups import GroupRules, OnJoin, OnLeave
from services.ledger.domain.moves import (
    Draws,
    all_or_nothing,
    applied,
    check_holds,
    give_away,
    receive,
    share_now,
    side_posting,
)
from services.ledger.domain.permissions import Addressed
from services.ledger.domain.refusals import (
    InDebt,
    MemberInGroup,
    MemberNotInGroup,
    SettingOff,
)

Postings = list[tuple[Fold, Posting]]


def check_kind(config: ProgramConfig, kind: AccountKind) -> None:
    """Refuse with SETTING_OFF groups or fleets that the program does not have."""
    if kind is AccountKind.GROUP and not config.groups_enabled:
        raise SettingOff("groups.enabled")
    if kind is AccountKind.FLEET and not config.fleets_enabled:
        raise SettingOff("fleets.enabled")


def join(
    own: Fold,
    group: Fold,
    rules: GroupRules,
    command: Command,
    group_now: str,
    addressed: Addressed | None = None,
) -> tuple[Postings, list[int]]:
    """Let a member join a group; both are settled. Also what it brought, by currency number.

    `group_now` is the group that it belongs to, `addressed` who was merged into it and is meant.
    Refusals: those of any command, SETTING_OFF, MEMBER_IN_GROUP, INVALID_FIELD, HOLD_OPEN,
    IN_DEBT, POINTS_OVERFLOW.
    """
    operation = command.operations[0]
    assert isinstance(operation, AddGroupMember)
    account = own.account
    share_now((own, group))
    posting = opened(own, command, addressed, [(group.account, None)])
    check_kind(own.policy.config, group.account.kind)
    if account.link is not None:
        raise MemberInGroup(account.member, group_now)
    if account.kind is not AccountKind.PERSON:
        raise InvalidField(FieldViolation("member", "is a group"))
    if operation.role and operation.role not in dict(rules.roles):
        raise InvalidField(FieldViolation("role", "is no role of the group"))
    brings = rules.pooling and (operation.on_join or rules.on_join) is OnJoin.BRING
    if brings:
        check_holds([own])
        _check_debt(own)
    came = side_posting(group, posting, Addressed(own.account.key, account.member))
    posting.peer = came
    brought: list[int] = []
    with all_or_nothing((own, group)):
        _link(own, group, Kind.LINKED)
        for currency in sorted(account.balances) if brings else ():
            draws = _all(own, currency)
            move_points(own, group, currency, draws)
            brought.extend([0] * (currency - len(brought)))
            brought.append(sum(points for _, points in draws))
        if brings:
            account.next_due_time = None
    account.link = Link.POOLED if rules.pooling else Link.GROUPED
    account.link_to = group.account.key
    return applied([(own, posting), (group, came)]), brought


def leave(
    own: Fold,
    group: Fold,
    rules: GroupRules,
    command: Command,
    share: Mapping[int, tuple[int, int]],
    addressed: Addressed | None = None,
) -> Postings:
    """Let a member leave its group; both are settled.

    `share` is what the member contributed and what all did, by currency number.
    Refusals: those of any command, MEMBER_NOT_IN_GROUP, POINTS_OVERFLOW.
    """
    operation = command.operations[0]
    assert isinstance(operation, RemoveGroupMember)
    account = own.account
    share_now((own, group))
    posting = opened(own, command, addressed, [(group.account, None)])
    if account.link is None or account.link_to != group.account.key:
        raise MemberNotInGroup(account.member, group.account.member)
    takes = rules.pooling and (operation.on_leave or rules.on_leave) is OnLeave.TAKE_SHARE
    given = side_posting(group, posting, Addressed(own.account.key, account.member))
    posting.peer = given
    with all_or_nothing((own, group)):
        _link(own, group, Kind.UNLINKED)
        for currency in sorted(share) if takes else ():
            move_points(group, own, currency, _share(group, currency, *share[currency]))
    account.link = account.link_to = None
    return applied([(own, posting), (group, given)])


def move_points(giver: Fold, taker: Fold, currency: int, draws: Draws) -> None:
    """Move points of lots to another account, with their dates."""
    if draws:
        to, by = taker.account.key, giver.account.key
        for fold, other in ((giver, taker), (taker, giver)):
            assert fold.posting is not None
            fold.posting.names[other.account.key] = other.account.member
        give_away(giver, Kind.MOVED_OUT, currency, draws, to)
        receive(taker, Kind.MOVED_IN, giver, draws, by)


def _check_debt(own: Fold) -> None:
    """Who brings points brings no debt: it would stay with the group when its debtor leaves."""
    for currency in sorted(own.account.balances):
        if own.account.balances[currency].debt:
            raise InDebt(own.account.balances[currency].debt)


def _link(own: Fold, group: Fold, kind: Kind) -> None:
    assert own.posting is not None
    entry = own.entry(kind, None, None, (0, 0, 0, 0))
    entry.counterpart = group.account.key
    own.posting.names[group.account.key] = group.account.member
    own.seal(entry)


def _all(fold: Fold, currency: int) -> Draws:
    lots = sorted(fold.account.lots.values(), key=lambda lot: lot.sequence)
    return [(lot.sequence, lot.free) for lot in lots if lot.currency == currency and lot.free]


def _share(fold: Fold, currency: int, own: int, everyone: int) -> Draws:
    """Of each lot what remains × own ÷ all, rounded down; what is held stays."""
    if own <= 0:
        return []
    lots = sorted(fold.account.lots.values(), key=lambda lot: lot.sequence)
    shares = [
        (lot.sequence, min(lot.free, (lot.free + lot.held) * own // everyone))
        for lot in lots
        if lot.currency == currency
    ]
    return [(sequence, points) for sequence, points in shares if points]
