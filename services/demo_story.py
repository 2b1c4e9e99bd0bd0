"""What happened to one member, told from what the services answer."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from google.protobuf.timestamp_pb2 import Timestamp
from rich.console import Console
from rich.table import Table

from loyalty.audience.v1.audience_pb2 import ListMemberAudiencesRequest
from loyalty.ledger.v1.ledger_pb2 import (
    GetAccountRequest,
    ListEntriesRequest,
    ListExpirationsRequest,
)
from loyalty.ledger.v1.resources_pb2 import Entry
from loyalty.tiers.v1.tiers_pb2 import (
    GetMembershipRequest,
    ListMembershipHistoryRequest,
    Membership,
    MembershipChange,
)
from services.sample import TIERS, Stubs

PAGE = 1000
EXPIRATIONS = 4
_TIERS = {tier: (name, rate) for tier, name, _, rate, _ in TIERS}


@dataclass(slots=True)
class Line:
    """One line of the story; `bought` counts the purchases in it, of `paid` dollars together.

    Of one instant, lines of a lower `rank` come first.
    """

    time: datetime
    rank: int
    text: str = ""
    points: int = 0
    balance: int | None = None
    bought: int = 0
    paid: Decimal = Decimal(0)
    style: str = ""

    def say(self) -> str:
        """What happened."""
        if not self.bought:
            return self.text
        what = "a purchase" if self.bought == 1 else f"{self.bought} purchases"
        return f"{what} for {self.paid:,.2f} dollars"


def tell(suite: Stubs, program: str, member: str, zone: ZoneInfo, console: Console) -> None:
    """Print a member's history, and where the member stands now."""
    account = suite.make(suite.ledger.GetAccount, GetAccountRequest(program=program, member=member))
    membership = suite.make(
        suite.tiers.GetMembership, GetMembershipRequest(program=program, member=member)
    )
    soon = suite.make(
        suite.ledger.ListExpirations,
        ListExpirationsRequest(program=program, member=member, page_size=EXPIRATIONS),
    )
    audiences = suite.make(
        suite.audiences.ListMemberAudiences,
        ListMemberAudiencesRequest(program=program, member=member),
    )
    entries = _entries(suite, program, member)
    moves = _moves(suite, program, member)
    lines = sorted(
        [*_from_entries(entries, zone), *_from_tiers(moves, zone)],
        key=lambda line: (line.time, line.rank),
    )
    name = member.partition("-")[0].capitalize()
    console.print(f"The story of {name} ({member})\n", style="bold")
    console.print(_table(list(_shortened(lines))))
    now = account.read_time.ToDatetime(UTC).astimezone(zone)
    balance = account.balances[0]
    totals = balance.totals
    console.print(
        f"On {now:%-d %B %Y} {name} has {balance.available:,} points, worth"
        f" {balance.available / 100:,.2f} dollars: {totals.earned:,} earned,"
        f" {totals.redeemed:,} redeemed, {totals.expired:,} expired."
    )
    console.print(_standing(name, membership, zone))
    if soon.expirations:
        console.print("If nothing is redeemed, these expire next:")
    for one in soon.expirations:
        last = datetime(one.date.year, one.date.month, one.date.day, tzinfo=zone)
        console.print(f"  {one.points:>6,} points after {last:%-d %B %Y}")
    console.print(f"{name} belongs to these audiences:" if audiences.audiences else "")
    for one in audiences.audiences:
        console.print(f"  {one.display_name}")


def _entries(suite: Stubs, program: str, member: str) -> list[Entry]:
    """All entries, the oldest first."""
    request = ListEntriesRequest(program=program, member=member, page_size=PAGE)
    entries: list[Entry] = []
    while True:
        answer = suite.make(suite.ledger.ListEntries, request)
        entries += answer.entries
        request.page_token = answer.next_page_token
        if not request.page_token:
            return entries[::-1]


def _moves(suite: Stubs, program: str, member: str) -> list[MembershipChange]:
    """All changes of tier, the oldest first."""
    request = ListMembershipHistoryRequest(program=program, member=member, page_size=PAGE)
    return list(suite.make(suite.tiers.ListMembershipHistory, request).changes)[::-1]


def _local(time: Timestamp, zone: ZoneInfo) -> datetime:
    return time.ToDatetime(UTC).astimezone(zone)


def _from_entries(entries: Sequence[Entry], zone: ZoneInfo) -> Iterator[Line]:
    """The lines that the ledger knows."""
    for entry in entries:
        time = _local(entry.effective_time, zone)
        line = Line(time, 2, "", entry.points, entry.after.available)
        if entry.kind == Entry.ENROLLED:
            line.rank, line.text, line.balance = 0, "joins the program", None
        elif entry.kind == Entry.EARNED:
            line.bought, line.paid = 1, Decimal(entry.source.value.amount or "0")
        elif entry.kind == Entry.REDEEMED:
            line.style = "green"
            line.text = f"redeems points worth {-entry.points / 100:,.2f} dollars"
            line.text += f" ({entry.reference})" if entry.reference else ""
        elif entry.kind == Entry.EXPIRED:
            line.text, line.style = "points expire, unused for a year", "red"
        else:
            continue
        yield line


def _from_tiers(changes: Sequence[MembershipChange], zone: ZoneInfo) -> Iterator[Line]:
    """The lines that the tiers know."""
    for change in changes:
        name, rate = _TIERS[change.to_tier]
        earns = "a point a dollar" if rate == "1" else f"{rate} points a dollar"
        text = f"is {name} from now on: {earns}"
        if change.from_tier:
            spent = Decimal(change.progress[0].value) / 100
            text = f"becomes {name}, having spent {spent:,.2f} dollars: {earns}"
        rank = 3 if change.from_tier else 1
        yield Line(_local(change.effective_time, zone), rank, text, style="bold yellow")


def _shortened(lines: Sequence[Line]) -> Iterator[Line]:
    """Purchases of a month, and expiries of a month, that follow each other are one line."""
    last: Line | None = None
    for line in lines:
        same = last is not None and (last.time.year, last.time.month, last.text, last.style) == (
            (line.time.year, line.time.month, line.text, line.style)
        )
        if last is not None and same and (line.bought or line.text.startswith("points expire")):
            last.bought += line.bought
            last.paid += line.paid
            last.points += line.points
            last.balance = line.balance
            continue
        if last is not None:
            yield last
        last = line
    if last is not None:
        yield last


def _table(lines: Sequence[Line]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("", style="dim")
    table.add_column("")
    table.add_column("points", justify="right")
    table.add_column("balance", justify="right")
    month = ""
    for line in lines:
        this = f"{line.time:%B %Y}"
        table.add_row(
            "" if this == month else this,
            line.say(),
            f"{line.points:+,}" if line.points else "",
            f"{line.balance:,}" if line.balance is not None else "",
            style=line.style or None,
        )
        month = this
    return table


def _standing(name: str, membership: Membership, zone: ZoneInfo) -> str:
    """Where a member stands, and how far the next tier is."""
    since = _local(membership.since, zone)
    text = f"{name} is {membership.tier.display_name} since {since:%-d %B %Y}"
    if membership.tier.benefits:
        text += f" ({', '.join(membership.tier.benefits).lower()})"
    if membership.HasField("next"):
        missing = Decimal(membership.next.progress[0].missing) / 100
        text += f"; {membership.next.display_name} is {missing:,.2f} dollars away"
    return f"{text}."
