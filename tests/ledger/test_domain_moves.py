"""Points that go from one account to another, without a database: both sides, or neither."""

from itertools import count

import pytest

from kernel.refusals import Refusal
from services.ledger.domain.account import Account, AccountKind, Kind, Link, Posting
from services.ledger.domain.commands import (
    AddGroupMember,
    Command,
    Earn,
    Operation,
    RemoveGroupMember,
    TransferPoints,
)
from services.ledger.domain.config import CurrencyConfig, Expiry, ExpiryKind
from services.ledger.domain.decide import decide
from services.ledger.domain.digest import first_digest
from services.ledger.domain.fold import Fold
from services.ledger.domain.groups import DEFAULT_ROLES, GroupRules, OnLeave, Permission
from services.ledger.domain.membership import join, leave
from services.ledger.domain.permissions import Addressed, check_permission
from services.ledger.domain.policy import Policy
from services.ledger.domain.transfers import transfer
from tests.ledger.domain_kit import at, config

NOW = "2026-06-01"
MOST = 10**15

_numbers = count(1)


def policy(**changes: object) -> Policy:
    """A program that has everything which takes several accounts."""
    given = {"transfer_enabled": True, "groups_enabled": True, "fleets_enabled": True}
    return Policy(1, config(**{**given, **changes}))


def fold(member: str, rules: Policy, now: str = NOW) -> Fold:
    """An enrolled account of somebody, to be folded."""
    number = next(_numbers)
    account = Account(
        bucket=number % 8, id=number, program=1, member=member, enrol_time=at("2000-01-01"),
        record_time=at("2000-01-01"), digest=first_digest(number % 8, number),
    )  # fmt: skip
    return Fold(account, rules, at(now), lambda: next(_numbers))


def command(*operations: Operation) -> Command:
    """A command of anybody."""
    request_id = f"r{next(_numbers)}"
    return Command("acme", "p", "ada", request_id, b"0" * 16, operations)


def earn(to: Fold, points: int, **more: object) -> None:
    """Give points."""
    decide(to, command(Earn(points, **more)))  # type: ignore[arg-type]  # a test's short way


def give(giver: Fold, taker: Fold, points: int) -> list[Posting]:
    """Transfer points."""
    operation = TransferPoints(taker.account.member, points)
    postings = transfer((giver, None), (taker, None), command(operation), operation)
    return [posting for _, posting in postings]


def state(of: Fold) -> tuple[object, ...]:
    """Everything that a refused command must leave as it was."""
    account = of.account
    return (
        account.version, account.sequence, account.digest, account.next_due_time, account.link,
        {number: vars_of(balance) for number, balance in account.balances.items()},
        {n: (lot.free, lot.held, lot.expired, lot.repaid) for n, lot in account.lots.items()},
        {key: list(days) for key, days in account.counters.items() if any(days)},
    )  # fmt: skip


def vars_of(balance: object) -> list[int]:
    """The numbers of a balance."""
    return [getattr(balance, name) for name in balance.__slots__]  # type: ignore[attr-defined]


def test_both_sides_know_the_same_instant() -> None:
    rules = policy()
    giver, taker = fold("ada", rules), fold("bob", rules, "2026-06-02")
    earn(giver, 10)

    out, came = give(giver, taker, 4)

    assert out.record_time == came.record_time == at("2026-06-02")
    assert out.effective_time == came.effective_time
    assert (out.peer, came.peer) == (came, out) or (out.peer is came and came.peer is out)
    assert (out.entries[0].counterpart, came.entries[0].counterpart) == (
        (taker.account.bucket, taker.account.id),
        (giver.account.bucket, giver.account.id),
    )


@pytest.mark.parametrize(
    "changes, points, has, reason",
    [
        ({"transfer_enabled": False}, 1, 0, "SETTING_OFF"),
        ({"transfer_minimum": 3}, 2, 0, "LIMIT_REACHED"),
        ({"transfer_maximum": 3}, 4, 0, "LIMIT_REACHED"),
        ({"transfer_monthly_count": 0}, 1, 0, "LIMIT_REACHED"),
        ({"transfer_monthly_points": 3}, 4, 0, "LIMIT_REACHED"),
        ({"transfer_minimum_age_days": 1}, 1, 0, "INSUFFICIENT_POINTS"),
        ({}, 11, 0, "INSUFFICIENT_POINTS"),
        ({"maximum_balance": 10}, 3, 8, "LIMIT_REACHED"),
        ({}, 1, MOST, "POINTS_OVERFLOW"),
    ],
)
def test_a_refused_transfer_leaves_both_as_they_were(
    changes: dict[str, object], points: int, has: int, reason: str
) -> None:
    rules = policy(**changes)
    giver, taker = fold("ada", rules), fold("bob", rules)
    earn(giver, 10)
    if has:
        earn(taker, has)
    before = state(giver), state(taker)

    with pytest.raises(Refusal) as refused:
        give(giver, taker, points)

    assert refused.value.reason == reason
    assert (state(giver), state(taker)) == before


def test_totals_of_transfers_never_leave_the_bounds() -> None:
    rules = policy()
    giver, taker = fold("ada", rules), fold("bob", rules)
    earn(giver, MOST)
    give(giver, taker, MOST)
    give(taker, giver, 1)
    before = state(giver), state(taker)

    with pytest.raises(Refusal) as refused:
        give(giver, taker, 1)

    assert refused.value.reason == "POINTS_OVERFLOW"
    assert (state(giver), state(taker)) == before


@pytest.mark.parametrize(
    "kind, months, expires",
    [
        (ExpiryKind.NONE, 0, None),
        (ExpiryKind.FIXED, 12, at("2027-06-01")),
        (ExpiryKind.INACTIVITY, 3, at("2026-09-01")),
    ],
)
def test_what_comes_has_the_same_end(kind: ExpiryKind, months: int, expires: object) -> None:
    rules = policy(expiry=(Expiry("x", kind, months=months),))
    giver, taker = fold("ada", rules), fold("bob", rules)
    earn(giver, 10)

    _, came = give(giver, taker, 4)

    (lot,) = taker.account.lots.values()
    assert (lot.earn_time, lot.expiry_kind, lot.origin) == (at(NOW), kind, None)
    assert came.entries[0].expire_time == expires
    assert taker.account.next_due_time == expires


def in_group(
    rules: Policy, on_leave: OnLeave = OnLeave.TAKE_SHARE
) -> tuple[Fold, Fold, GroupRules]:
    """A member and a group, and what holds in it."""
    group = fold("family", rules)
    group.account.kind = AccountKind.GROUP
    return (
        fold("ada", rules),
        group,
        GroupRules(DEFAULT_ROLES[AccountKind.GROUP], on_leave=on_leave),
    )


def test_joining_brings_every_currency() -> None:
    rules = policy(currencies=(CurrencyConfig("points"), CurrencyConfig("a"), CurrencyConfig("b")))
    own, group, what = in_group(rules)
    earn(own, 5)
    earn(own, 7, currency="b")

    postings, brought = join(own, group, what, command(AddGroupMember("family")), "")

    assert brought == [5, 0, 7]
    assert [entry.kind for _, posting in postings for entry in posting.entries] == [
        Kind.LINKED, Kind.MOVED_OUT, Kind.MOVED_OUT, Kind.MOVED_IN, Kind.MOVED_IN,
    ]  # fmt: skip
    assert own.account.link is Link.POOLED
    assert own.account.lands_in() == (group.account.bucket, group.account.id)
    origins = [lot.origin for lot in group.account.lots.values()]
    assert origins == [(own.account.bucket, own.account.id, n) for n in sorted(own.account.lots)]


@pytest.mark.parametrize(
    "own, everyone, taken",
    [(0, 5, 0), (1, 1, 100), (1, 3, 33), (2, 3, 66), (1, 101, 0), (MOST, MOST, 100)],
)
def test_shares_are_rounded_down(own: int, everyone: int, taken: int) -> None:
    member, group, what = in_group(policy())
    join(member, group, what, command(AddGroupMember("family")), "")
    earn(group, 100)

    postings = leave(
        member, group, what, command(RemoveGroupMember("family")), {0: (own, everyone)}
    )

    assert member.account.balance(0).available == taken
    assert group.account.balance(0).available == 100 - taken
    assert len(postings) == (2 if taken else 1)
    assert member.account.link is None


def test_a_refused_leave_leaves_both_as_they_were() -> None:
    member, group, what = in_group(policy())
    join(member, group, what, command(AddGroupMember("family")), "")
    earn(group, 10)
    member.account.balance(0).transferred_in = MOST
    before = state(member), state(group)

    with pytest.raises(Refusal) as refused:
        leave(member, group, what, command(RemoveGroupMember("family")), {0: (1, 1)})

    assert refused.value.reason == "POINTS_OVERFLOW"
    assert (state(member), state(group)) == before


def test_a_role_that_is_gone_permits_nothing() -> None:
    rules = GroupRules((("owner", frozenset(Permission)), ("member", frozenset())))
    through = Addressed((1, 1), "ada", role="gone", permissions=rules.permissions("gone"))

    with pytest.raises(Refusal) as refused:
        check_permission(through, TransferPoints("bob", 1))

    assert refused.value.metadata == {"role": "gone", "permission": "TRANSFER"}
    assert rules.default_role() == "member"
    check_permission(Addressed((1, 1), "ada"), TransferPoints("bob", 1))
    check_permission(through, Earn(1))
