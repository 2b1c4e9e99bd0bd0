"""What becomes of one item of a lane transaction."""

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from kernel.refusals import Refusal
from services.ledger.domain.account import GROUPED, Account, AccountKind, Balance, Posting, State
from services.ledger.domain.commands import Command
from services.ledger.store.accounts import Key
from services.ledger.store.directory import Name

if TYPE_CHECKING:
    from services.ledger.operations.plans import Plan


@dataclass(frozen=True, slots=True)
class AccountView:
    """An account as it stood right after a command. Balances are by currency number."""

    key: Key
    member: str
    state: State
    version: int
    sequence: int
    read_time: datetime
    enrol_time: datetime
    last_activity_time: datetime | None
    balances: dict[int, Balance]
    revision: int
    program: int
    kind: AccountKind = AccountKind.PERSON
    # Where its member's commands land, if elsewhere, and the group that it belongs to.
    lands_in: Key | None = None
    group_key: Key | None = None
    group: str = ""


def view_of(account: Account, read_time: datetime, revision: int) -> AccountView:
    """A copy that later commands do not change."""
    return AccountView(
        key=account.key,
        member=account.member,
        state=account.state,
        version=account.version,
        sequence=account.sequence,
        read_time=read_time,
        enrol_time=account.enrol_time,
        last_activity_time=account.last_activity_time,
        balances={number: balance.copy() for number, balance in account.balances.items()},
        revision=revision,
        program=account.program,
        kind=account.kind,
        lands_in=account.lands_in(),
        group_key=account.link_to if account.link in GROUPED else None,
    )


@dataclass(frozen=True, slots=True)
class Applied:
    """The command was applied in this transaction. `view` where the caller asked for it.

    `replayed` where another command of the same transaction, with the same request id, applied it.
    `sides` are the postings of the other accounts that it touched, with their programs.
    """

    posting: Posting
    view: AccountView | None
    program: int
    replayed: bool = False
    sides: tuple[tuple[Posting, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Recorded:
    """The request had been applied, by another call where `replayed`: where its posting is.

    `key` is the account where the member's commands land now, which is that of `member`, `place`
    (bucket, sequence) of the posting.
    """

    key: Key
    member: str
    place: tuple[int, int]
    replayed: bool


@dataclass(frozen=True, slots=True)
class Refused:
    """A rule said no."""

    refusal: Refusal


@dataclass(frozen=True, slots=True)
class Settled:
    """What time changed was posted: how many postings."""

    postings: int


@dataclass(frozen=True, slots=True)
class Broken:
    """The command could not be decided at all."""

    fault: BaseException


Outcome = Applied | Recorded | Refused | Settled | Broken


@dataclass(slots=True, eq=False)
class Item:
    """A command for a member, or (without one) the settlement of an account.

    `plan` decides a command that touches several accounts; those of `others` are found with the
    member's own. `stay` where it stays in the member's own account though a group pools it.
    """

    command: Command | None = None
    name: Name | None = None
    key: Key | None = None
    view: bool = False
    plan: "Plan | None" = None
    others: tuple[Name, ...] = ()
    stay: bool = False
    # Where `key` is not the own account of the member whose doing it is: that one, which its
    # request ids are unique for, and whose account `key` is.
    of: Key | None = None
    whose: str = ""
    # Further accounts that the plan needs.
    also: tuple[Key, ...] = ()
    # A settlement that is done though nothing is known to be due.
    again: bool = False
    # Set where a commit's answer was lost: what is found recorded then may be this item's own
    # doing.
    ambiguous: bool = False
