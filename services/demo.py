"""Two years of a loyalty program in a minute: `make demo`.

Starts a suite of its own in a folder that is gone afterwards, imports generated purchases into a
sandbox program, lets some members redeem in between, has the ledger checked, and tells the story of
one member.
"""

import csv
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from google.protobuf.timestamp_pb2 import Timestamp
from rich.console import Console

from chassis.children import start_child, stop_child, stop_with_parent
from chassis.supervise import Home, SuiteError
from loyalty.ledger.v1 import ledger_pb2, program_pb2, resources_pb2
from services.demo_story import tell
from services.sample import SETTINGS, Stubs, make_program, stubs

ROOT = Path(__file__).resolve().parents[1]
PROGRAM = "two-years"
ZONE = ZoneInfo("America/New_York")
FIRST, MIDDLE, LAST = date(2024, 1, 1), date(2025, 1, 1), date(2026, 1, 1)
SEED = 1815
# fmt: off
NAMES = (
    "ada", "alan", "amara", "anna", "bela", "carla", "chen", "dana", "elif", "emma", "fatima",
    "finn", "grace", "hana", "ines", "ivan", "jonas", "kofi", "lara", "leon", "lina", "malik",
    "maya", "mira", "nia", "noah", "olga", "omar", "pablo", "priya", "rosa", "ruth", "sami",
    "sara", "tariq", "tess", "tomas", "uma", "vera", "yuki",
)
# fmt: on
STORES = ("harbour", "old-town", "online")
START_S = 120.0
STOP_S = 60.0
PORTS = ("HTTP", "GATEWAY", "LEDGER", "RULES", "TIERS", "AUDIENCE")


@dataclass(frozen=True, slots=True)
class Purchase:
    """Something that somebody bought; `amount` in cents."""

    member: str
    time: datetime
    amount: int
    store: str


def purchases(chance: random.Random) -> list[Purchase]:
    """Two years of purchases by people who buy more or less, start sooner or later, and stop."""
    made = []
    for name in NAMES:
        for suffix in ("", "-b", "-k"):
            day = FIRST + timedelta(days=int(chance.triangular(0, 500, 20)))
            pause = chance.choice((12.0, 25.0, 45.0, 90.0))
            usual = chance.choice((900, 2200, 4500, 9000))
            until = LAST if chance.random() < 0.7 else day + timedelta(days=chance.randrange(400))
            while day < min(until, LAST):
                at = datetime(
                    day.year, day.month, day.day,
                    chance.randrange(8, 21), chance.randrange(60), tzinfo=ZONE,
                )  # fmt: skip
                amount = 100 + int(chance.gammavariate(2.0, usual / 2))
                made.append(Purchase(name + suffix, at, amount, chance.choice(STORES)))
                day += timedelta(days=1 + int(chance.expovariate(1 / pause)))
    return made


def write_purchases(path: Path, made: Sequence[Purchase]) -> None:
    """Write purchases as a till might export them."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("member", "time", "paid", "store"))
        for one in made:
            paid = f"{one.amount // 100}.{one.amount % 100:02}"
            writer.writerow((one.member, one.time.isoformat(), paid, one.store))


@contextmanager
def own_suite(folder: Path) -> Iterator[Mapping[str, str]]:
    """A suite on free ports that stops at the end; its environment for clients.

    Raises SuiteError where it does not start.
    """
    log = folder / "suite.log"
    environment = {name: text for name, text in os.environ.items() if "LOYALTY_" not in name}
    environment |= {
        "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'libs'}",
        "LOYALTY_HOME": str(folder / "home"),
        **{f"LOYALTY_{name}_PORT": "0" for name in PORTS},
    }
    with log.open("wb") as output:
        suite = start_child(
            [sys.executable, "-m", "services", "--with-parent"],
            environment=environment,
            output=output,
            directory=ROOT,
        )
    try:
        deadline = time.monotonic() + START_S
        while "is running at" not in log.read_text():
            if suite.poll() is not None or time.monotonic() > deadline:
                raise SuiteError(f"the suite does not start:\n{log.read_text()}")
            time.sleep(0.1)
        yield environment | _ports(folder / "home")
    finally:
        stop_child(suite, ((signal.SIGTERM, STOP_S),))


def _ports(home: Path) -> dict[str, str]:
    text = (home / "running.json").read_text()
    return dict(re.findall(r'"(LOYALTY_\w+_PORT)": (\d+)', text))


def loyalty(environment: Mapping[str, str], console: Console, *arguments: str) -> None:
    """Show and run a `loyalty` command. Raises SuiteError where it fails."""
    console.print(f"$ loyalty {' '.join(arguments)}", style="dim", soft_wrap=True)
    code = "from loyalty.command import main; main()"
    done = subprocess.run(  # noqa: S603 - a command of our own
        [sys.executable, "-c", code, *arguments], env=dict(environment), check=False
    )
    if done.returncode:
        raise SuiteError(f"loyalty {arguments[0]} ended with {done.returncode}")
    console.print()


def redeem_some(suite: Stubs, members: Sequence[str], chance: random.Random) -> int:
    """Let half of those who can redeem hundreds of points; how many did."""
    request = ledger_pb2.BatchGetAccountsRequest(program=PROGRAM, members=members)
    redeemed = 0
    for account in suite.make(suite.ledger.BatchGetAccounts, request).accounts:
        hundreds = account.balances[0].available // 100
        if hundreds and chance.random() < 0.5:
            suite.make(
                suite.ledger.Redeem,
                ledger_pb2.RedeemRequest(
                    program=PROGRAM,
                    member=account.member,
                    request_id="new-year",
                    points=100 * chance.randint(1, hundreds),
                    reference="New Year's sale",
                ),
            )
            redeemed += 1
    return redeemed


def main() -> None:
    """Run the demonstration; exit with one sentence where it cannot."""
    stop_with_parent()
    console = Console(highlight=False)
    chance = random.Random(SEED)  # noqa: S311 - the same purchases every time are meant
    made = purchases(chance)
    with tempfile.TemporaryDirectory(prefix="loyalty-demo-") as name:
        folder = Path(name)
        # The database may run under another account, which must pass through.
        folder.chmod(0o711)
        console.print("Starting a suite of its own; it is gone afterwards.\n")
        try:
            with own_suite(folder) as environment:
                show(folder, environment, console, chance, made)
        except SuiteError as error:
            sys.exit(f"demo: {error}")
        except KeyboardInterrupt:
            sys.exit(130)


def show(
    folder: Path,
    environment: Mapping[str, str],
    console: Console,
    chance: random.Random,
    made: Sequence[Purchase],
) -> None:
    """Import the purchases year by year, and tell the story of one who made them."""
    ports = {name: int(text) for name, text in environment.items() if name.endswith("_PORT")}
    key = Home(folder / "home").ensure_keys()
    members = sorted({one.member for one in made})
    settings = program_pb2.ProgramSettings()
    settings.CopyFrom(SETTINGS)
    settings.program.time_zone = ZONE.key
    with stubs("127.0.0.1", ports, key) as suite:
        start = program_pb2.CreateProgramRequest(
            program=PROGRAM, sandbox=True, start_time=_midnight(FIRST), settings=settings
        )
        make_program(suite, start)
        for begin, end in ((FIRST, MIDDLE), (MIDDLE, LAST)):
            file = folder / f"{begin.year}.csv"
            write_purchases(file, [one for one in made if begin <= one.time.date() < end])
            loyalty(
                environment, console, "events", "import", str(file), "--program", PROGRAM,
                "--map", "member=member,time=time,amount=paid,store=store",
                "--advance-clock", "--end", end.isoformat(),
            )  # fmt: skip
            if end == MIDDLE:
                count = redeem_some(suite, members, chance)
                console.print(f"On New Year's Day {count} members redeem points.\n")
        loyalty(environment, console, "verify", PROGRAM)
        tell(suite, PROGRAM, _worth_telling(suite, members), ZONE, console)


def _midnight(day: date) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(datetime(day.year, day.month, day.day, tzinfo=ZONE))
    return stamp


def _worth_telling(suite: Stubs, members: Sequence[str]) -> str:
    """The member to whom most different things happened, and of these the one with fewest."""
    request = ledger_pb2.BatchGetAccountsRequest(program=PROGRAM, members=members)
    accounts = suite.make(suite.ledger.BatchGetAccounts, request).accounts

    def interest(account: resources_pb2.Account) -> tuple[int, int]:
        totals = account.balances[0].totals
        spent = totals.earned >= 1300
        return sum((totals.redeemed > 0, totals.expired > 0, spent)), -account.version

    return str(max(accounts, key=interest).member)


if __name__ == "__main__":
    main()
