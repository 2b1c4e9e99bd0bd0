"""Small checks of a ledger, each for a kind of bug; a check that finds something raises."""

import random
import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from tests.faults.ledger_books import (
    CALLERS,
    Books,
    Move,
    assert_books_balance,
    assert_stream_tells_all,
    earn,
    entries_of,
    mixed_moves,
    new_program,
    race,
    send,
)
from tests.faults.trap_kit import DAY, INSTANT, PLAIN, START, policy
from tests.planted.checks_locks import neighbours, ordered
from tests.planted.checks_moves import merged, shared
from tests.properties.agreement import (
    assert_same_account,
    assert_same_answer,
    assert_same_history,
    assert_same_refusal,
)
from tests.properties.driver import Driver, Ledger
from tests.properties.effort import SEED
from tests.properties.ledger_process import Cluster
from tests.properties.model import Program
from tests.properties.model_shapes import (
    Adjust,
    Answer,
    CaptureHold,
    Command,
    CreateHold,
    Earn,
    FreezeMember,
    Limits,
    Lone,
    Op,
    Redeem,
    Refused,
    ReleaseHold,
    ReversePosting,
    Settings,
    Strategy,
    TransferPoints,
)

Step = Op | Lone | Command | timedelta
DEBT = policy("ALLOW_DEBT")


def agree(ledger: Ledger, settings: Settings, *steps: Step, start: datetime = START) -> None:
    """Does step n under the request id `rn`, here and in the reference model; both are the same."""
    model = Program(settings, start)
    driver = Driver(ledger, f"p{uuid.uuid4().hex}", settings, start)
    commands = [Command("ada", "enrol", ()), Command("bob", "enrol", ())]
    for number, step in enumerate((*commands, *steps), -2):
        if isinstance(step, timedelta):
            model.advance(model.now + step)
            driver.advance(model.now)
            continue
        command = step
        if not isinstance(command, Command):
            command = Command("ada", f"r{number}", (step,), single=True)  # type: ignore[arg-type]
        ours, theirs = _outcome(model, command), _outcome(driver, command)
        if isinstance(ours, Refused):
            assert isinstance(theirs, Refused), (theirs, ours)
            assert_same_refusal(theirs, ours)
            continue
        assert isinstance(theirs, Answer), (theirs, ours)
        if not command.validate_only:
            assert_same_answer(theirs, ours)
    for account in model.accounts.values():
        assert_same_account(driver.account(account.member), model, account)
        assert_same_history(driver, model, account, 1000)
        assert driver.verified(account.member) == []


def _outcome(program: Program | Driver, command: Command) -> Answer | Refused:
    try:
        answer = program.do(command)
    except Refused as refused:
        return refused
    return answer if isinstance(answer, Answer) else answer[0]


def one(cluster: Cluster) -> Ledger:
    """Stubs of the first process."""
    return cluster.processes[0].connect()


def requests(cluster: Cluster) -> None:
    """The same request again, and another one under its id."""
    first = Command("ada", "once", (Earn(10),), single=True)
    other = replace(first, ops=(Earn(11),))
    agree(one(cluster), PLAIN, first, first, other, Redeem(10))


def refused(cluster: Cluster) -> None:
    """A post whose last operation is refused leaves nothing."""
    post = Command("ada", "both", (Earn(5), Redeem(100)))
    agree(one(cluster), PLAIN, Earn(10), post, Redeem(10))


def rehearsed(cluster: Cluster) -> None:
    """What is only validated is not there."""
    agree(one(cluster), PLAIN, Command("ada", "as-if", (Earn(5),), True, validate_only=True))


def earned(cluster: Cluster) -> None:
    """The simplest history there is."""
    agree(one(cluster), PLAIN, Earn(10), Redeem(3))


def held(cluster: Cluster) -> None:
    """Held beyond its expiry, captured in part; the rest comes back dead."""
    hold = CreateHold(60, expire_time=START + 200 * DAY)
    agree(one(cluster), PLAIN, Earn(100), hold, 150 * DAY, CaptureHold("r1", 10))
    agree(one(cluster), PLAIN, Earn(100), CreateHold(60), CaptureHold("r1", 10), CreateHold(80))


def claimed(cluster: Cluster) -> None:
    """Hold, return, release."""
    agree(
        one(cluster),
        PLAIN,
        Earn(100),
        CreateHold(60),
        ReversePosting("r0"),
        ReleaseHold("r1"),
    )


def lapsed(cluster: Cluster) -> None:
    """Just before the deadline, and at it."""
    hour = timedelta(hours=1)
    steps = (Earn(100), CreateHold(60), hour - INSTANT, Redeem(41), INSTANT)
    agree(one(cluster), PLAIN, *steps, Redeem(41), CaptureHold("r1"))


def restored(cluster: Cluster) -> None:
    """Half of a redemption that drew on two lots."""
    steps = (Earn(50, expiry="short"), Earn(50), Redeem(80), ReversePosting("r2", 40))
    agree(one(cluster), PLAIN, *steps, 60 * DAY, ReversePosting("r2"))


def returned(cluster: Cluster) -> None:
    """In parts, more than there was, and of points that have expired."""
    parts = [ReversePosting("r0", points) for points in (30, 71, 70, 1)]
    agree(one(cluster), PLAIN, Earn(100), Earn(10), *parts)
    steps = (Earn(100, expiry="short"), Earn(100), Redeem(40), 60 * DAY)
    agree(one(cluster), PLAIN, *steps, ReversePosting("r0"))


def capped(cluster: Cluster) -> None:
    """A daily cap, before and after a return."""
    settings = replace(PLAIN, limits=Limits(daily_cap=100))
    agree(one(cluster), settings, Earn(100), Earn(1), ReversePosting("r0", 40), Earn(100))


def owed(cluster: Cluster) -> None:
    """Into debt, out of it, and into it again; no deeper than the floor."""
    first = (Earn(100), Redeem(100), ReversePosting("r0"), Earn(120))
    agree(one(cluster), DEBT, *first, Redeem(1), ReversePosting("r3"), Redeem(1))
    floor = policy("ALLOW_DEBT", debt_floor=30)
    agree(one(cluster), floor, Earn(100), Redeem(90), ReversePosting("r0"), Earn(50))


def matured(cluster: Cluster) -> None:
    """Some points die in the instant in which others mature."""
    later = START + 50 * DAY
    agree(one(cluster), PLAIN, Earn(30, expiry="short"), Earn(50, mature_time=later), 50 * DAY)


def expired(cluster: Cluster) -> None:
    """Just before the instant, and at it."""
    steps = (Earn(50, expiry="short"), 50 * DAY - INSTANT, Redeem(5), INSTANT, Redeem(5))
    agree(one(cluster), PLAIN, *steps)


def months(cluster: Cluster) -> None:
    """From 31 January."""
    settings = replace(PLAIN, strategies=(Strategy("month", "FIXED", months=1),))
    start = datetime(2025, 1, 31, 10, tzinfo=UTC)
    agree(one(cluster), settings, Earn(50), 28 * DAY, Redeem(1), start=start)


def idle(cluster: Cluster) -> None:
    """Gifts are no activity, redemptions are."""
    settings = replace(PLAIN, strategies=(Strategy("idle", "INACTIVITY", months=1),))
    steps = (Earn(50), 20 * DAY, Redeem(10), 20 * DAY, Adjust(1), 15 * DAY)
    agree(one(cluster), settings, *steps)


def spent(cluster: Cluster) -> None:
    """First to expire, first spent."""
    agree(one(cluster), PLAIN, Earn(100), Earn(50, expiry="short"), Redeem(70), 60 * DAY)


def given(cluster: Cluster) -> None:
    """With their expiry, and not to a frozen member."""
    freeze = Command("bob", "freeze", (FreezeMember("why"),), single=True)
    gift = TransferPoints("bob", 20)
    agree(one(cluster), PLAIN, Earn(50, expiry="short"), 10 * DAY, gift, freeze, gift, 45 * DAY)


def racing(cluster: Cluster, moves: list[Move], program: str, callers: int = CALLERS) -> None:
    """Moves of few members at two processes at once; then every book must balance."""
    while len(cluster.processes) < 2:
        cluster.start()
    ledgers = [process.connect() for process in cluster.processes[:2]]
    books = Books()
    race(moves, lambda number, move: books.note(move, send([ledgers[number % 2]], move)), callers)
    assert set(books.refusals) <= {"INSUFFICIENT_POINTS", "MEMBER_NOT_FOUND"}, books.refusals
    postings = assert_books_balance(ledgers[0], program, moves, books)
    assert_stream_tells_all(ledgers[0], program, postings)
    for ledger in ledgers:
        ledger.close()


def raced(cluster: Cluster) -> None:
    """Two processes, three members, a fifth of all requests twice."""
    ledger = one(cluster)
    program = new_program(ledger)
    racing(cluster, mixed_moves(random.Random(SEED), program, members=3, count=300), program)


def crowded(cluster: Cluster) -> None:
    """Two processes, each with members of its own, whose changes are of the same streams."""
    ledger = one(cluster)
    program = new_program(ledger)
    moves = neighbours(ledger, program)
    # One call at a time at each process, so that no transaction stands in for another one.
    racing(cluster, moves, program, callers=2)


def killed(cluster: Cluster) -> None:
    """What was answered is there after `kill -9` in the next moment."""
    process = cluster.processes[0]
    ledger = process.connect()
    program = new_program(ledger)
    ledger.call(ledger.ledger.Earn, earn(program, "ada", 10, "first"))
    process.kill()
    process.start()
    process.wait()
    assert [entry.points for entry in entries_of(ledger, program, "ada")] == [0, 10]
    ledger.close()


CHECKS: dict[str, Callable[[Cluster], None]] = {
    "requests": requests,
    "refused": refused,
    "rehearsed": rehearsed,
    "earned": earned,
    "held": held,
    "claimed": claimed,
    "lapsed": lapsed,
    "restored": restored,
    "returned": returned,
    "capped": capped,
    "owed": owed,
    "matured": matured,
    "expired": expired,
    "months": months,
    "idle": idle,
    "spent": spent,
    "given": given,
    "merged": merged,
    "shared": shared,
    "race": raced,
    "crowded": crowded,
    "ordered": ordered,
    "killed": killed,
}
