"""A file of real purchases, the program that it is imported into, and what has to come of it.

What is expected is computed here from the file alone, in plain Python, and shares nothing with the
suite: points are whole dollars, lots live twelve months, tiers are reached by dollars spent.
"""

import csv
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from loyalty.client import AsyncClient
from loyalty.ledger.v1 import program_pb2, resources_pb2
from loyalty.ledger.v1.program_pb2_grpc import ProgramServiceStub
from loyalty.rules.v1 import earning_pb2
from loyalty.rules.v1.earning_pb2_grpc import EarningServiceStub
from loyalty.tiers.v1 import tiers_pb2
from loyalty.tiers.v1.tiers_pb2_grpc import TierServiceStub

FILE = Path(os.environ.get("CDNOW_CSV") or "/nowhere")
needs_file = pytest.mark.skipif(
    not FILE.is_file(), reason="CDNOW_CSV names no file of purchases to import"
)
MAP = "member=customer_id,time=date,amount=amount_usd"
START = date(1997, 1, 1)
END = date(1998, 7, 1)
LADDER = (("bronze", 0), ("silver", 250), ("gold", 1000))


@dataclass(frozen=True, slots=True)
class Purchase:
    """One line of the file."""

    member: str
    day: date
    amount: Decimal


@dataclass(slots=True)
class Standing:
    """What a member must have at the end: points by the day on which they die, and the tier."""

    earned: int = 0
    expired: int = 0
    expirations: dict[date, int] = field(default_factory=dict)
    tier: str = LADDER[0][0]
    since: date = START

    @property
    def available(self) -> int:
        """The balance."""
        return self.earned - self.expired


def read_purchases(path: Path) -> list[Purchase]:
    """The purchases of a file, as they stand there."""
    with path.open(newline="") as file:
        return [
            Purchase(
                row["customer_id"], date.fromisoformat(row["date"]), Decimal(row["amount_usd"])
            )
            for row in csv.DictReader(file)
        ]


def write_sample(path: Path, sample: Path, every: int) -> None:
    """Write the lines of every `every`-th member, in the order of the file."""
    header, *lines = path.read_text().splitlines(keepends=True)
    chosen = [line for line in lines if int(line.partition(",")[0]) % every == 0]
    sample.write_text(header + "".join(chosen))


def expected(purchases: Iterable[Purchase], end: date = END) -> dict[str, Standing]:
    """Where every member stands at the first instant of `end`."""
    standings: dict[str, Standing] = {}
    spent: dict[str, Decimal] = defaultdict(Decimal)
    for purchase in sorted(purchases, key=lambda one: one.day):
        standing = standings.get(purchase.member)
        if standing is None:
            standing = standings[purchase.member] = Standing(since=purchase.day)
        points = int(purchase.amount)
        standing.earned += points
        dies = a_year_after(purchase.day)
        if dies <= end:
            standing.expired += points
        elif points:
            standing.expirations[dies] = standing.expirations.get(dies, 0) + points
        spent[purchase.member] += purchase.amount
        reached = [tier for tier, dollars in LADDER if spent[purchase.member] >= dollars][-1]
        if reached != standing.tier:
            standing.tier, standing.since = reached, purchase.day
    return standings


def disagreements(
    wanted: Mapping[str, Standing], found: Mapping[str, Standing]
) -> dict[str, tuple[Standing | None, Standing | None]]:
    """The members of whom something else was found than is wanted.

    Tiers that are followed date a rise by when they read it, if more was bought in between: that is
    never before the purchase by which the tier was reached.
    """
    wrong: dict[str, tuple[Standing | None, Standing | None]] = {}
    for member in {**wanted, **found}:
        one, other = wanted.get(member), found.get(member)
        if one and other and one.since <= other.since and replace(other, since=one.since) == one:
            continue
        wrong[member] = one, other
    return wrong


def a_year_after(day: date) -> date:
    """The same day of the next year; the last of February for a leap day."""
    try:
        return day.replace(year=day.year + 1)
    except ValueError:
        return day.replace(year=day.year + 1, day=28)


def stamp(day: date) -> Timestamp:
    """The first instant of a day in UTC."""
    moment = Timestamp()
    moment.FromDatetime(datetime(day.year, day.month, day.day, tzinfo=UTC))
    return moment


async def make_program(client: AsyncClient, program: str) -> None:
    """A sandbox that begins in 1997, with a point a dollar for a year and three tiers by spend."""
    year = resources_pb2.ExpiryStrategy(
        strategy="year", kind=resources_pb2.ExpiryStrategy.FIXED, months=12
    )
    programs = client.stub(ProgramServiceStub)
    await programs.CreateProgram(
        program_pb2.CreateProgramRequest(
            program=program,
            sandbox=True,
            start_time=stamp(START),
            settings=program_pb2.ProgramSettings(
                program=program_pb2.GeneralSettings(
                    time_zone="UTC", currency_code="USD", auto_enrol=True
                ),
                points=program_pb2.PointsSettings(expiry=[year], default_expiry="year"),
            ),
        )
    )
    await programs.CreateCounter(
        program_pb2.CreateCounterRequest(
            program=program, counter_id="spend", counter=program_pb2.Counter(unit="minor:USD")
        )
    )
    await client.stub(EarningServiceStub).CreateEarningRule(
        earning_pb2.CreateEarningRuleRequest(
            program=program,
            rule="dollars",
            earning_rule=earning_pb2.EarningRule(points="1", per_amount="1"),
        )
    )
    await client.stub(TierServiceStub).CreateLadder(
        tiers_pb2.CreateLadderRequest(program=program, ladder_id="spend", ladder=ladder())
    )


def ladder() -> tiers_pb2.Ladder:
    """The tiers by dollars spent since enrolment; counters of money are in cents."""
    window = resources_pb2.CounterWindow(
        counter="spend", period=resources_pb2.CounterWindow.LIFETIME
    )
    return tiers_pb2.Ladder(
        tiers=[
            tiers_pb2.Tier(
                tier=tier,
                criteria=[tiers_pb2.Criterion(window=window, threshold=dollars * 100)]
                if dollars
                else [],
            )
            for tier, dollars in LADDER
        ]
    )
