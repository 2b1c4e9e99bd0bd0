"""A batch is its posts one by one, three processes are one, and a duplicate is nothing."""

import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from tests.properties import generators as some
from tests.properties.agreement import (
    assert_same_account,
    assert_same_history,
)
from tests.properties.chance import Drawn
from tests.properties.driver import Driver, Ledger
from tests.properties.effort import effort, seeded
from tests.properties.model import Program
from tests.properties.model_shapes import Answer, Command, Earn, Refused, Settings, Strategy


@st.composite
def lists_of_posts(draw: st.DrawFn) -> tuple[datetime, Settings, list[Command]]:
    """A program and up to twenty posts, a fifth of them sent twice."""
    chance = Drawn(draw)
    start = chance.pick(some.STARTS)
    # Members are told ahead once in a transaction, which a batch is and singles are not.
    settings = replace(some.programs(chance, start), notice_days=0)
    posts: list[Command] = []
    for number in range(chance.number(2, 20)):
        if posts and chance.number(0, 4) == 0:
            posts.append(chance.pick(posts))
            continue
        ops = tuple(some.operations(chance, start) for _ in range(chance.number(1, 3)))
        member = chance.pick(some.MEMBERS)
        time = some.effective_times(chance, start)
        posts.append(Command(member, f"r{number}", ops, effective_time=time))
    return start, settings, posts


def outcome(program: Driver | Program, post: Command) -> Answer | Refused:
    """What became of a post sent by itself."""
    try:
        answer = program.do(post)
    except Refused as refused:
        return refused
    return replace(answer if isinstance(answer, Answer) else answer[0], value=None)


def comparable(outcomes: Sequence[Answer | Refused]) -> list[object]:
    """Outcomes as plain values."""
    return [
        (outcome.reason, sorted(outcome.metadata.items()))
        if isinstance(outcome, Refused)
        else outcome
        for outcome in outcomes
    ]


def without_ids(outcomes: list[object]) -> list[object]:
    """Outcomes without what names a posting or an instant of one program."""
    hidden = {"posting", "now"}
    return [
        (row[0], [pair for pair in row[1] if pair[0] not in hidden])
        if isinstance(row, tuple)
        else row
        for row in outcomes
    ]


def new_driver(ledger: Ledger, settings: Settings, start: datetime) -> Driver:
    """A fresh program."""
    return Driver(ledger, f"p{uuid.uuid4().hex}", settings, start)


def assert_same_state(driver: Driver, model: Program) -> None:
    """Every account of the model stands in the ledger as it should."""
    for member, account in model.accounts.items():
        assert_same_account(driver.account(member), model, account)
        assert_same_history(driver, model, account, 1000)
        assert driver.verified(member) == []


def test_a_batch_is_its_posts_one_by_one(ledger: Ledger) -> None:
    """Same answers, same refusals, same accounts; duplicates within the batch included."""

    @seeded
    @effort(examples=25)
    @given(drawn=lists_of_posts())
    def check(drawn: tuple[datetime, Settings, list[Command]]) -> None:
        start, settings, posts = drawn
        model = Program(settings, start)
        batched, single = (new_driver(ledger, settings, start) for _ in range(2))

        together = comparable(batched.batch(posts))
        one_by_one = comparable([outcome(single, post) for post in posts])

        assert without_ids(together) == without_ids(one_by_one)
        for post in posts:
            outcome(model, post)
        assert_same_state(batched, model)
        assert_same_state(single, model)

    check()


def test_the_same_post_at_three_processes_at_once_is_one(three: list[Ledger]) -> None:
    """All callers get the one posting; the account moved once."""
    start = some.STARTS[0]
    settings = Settings(ZoneInfo("UTC"), (Strategy("never", "NONE"),))
    driver = new_driver(three[0], settings, start)
    drivers = []
    for connected in three:
        copy = Driver.__new__(Driver)
        copy.__dict__.update(driver.__dict__, ledger=connected, lots={})
        drivers.append(copy)

    with ThreadPoolExecutor(6) as pool:
        for number in range(20):
            post = Command("ada", f"r{number}", (Earn(10),), single=number % 2 == 0)
            calls = [pool.submit(copy.do, post) for copy in (*drivers, *drivers)]
            answers = [call.result()[0] for call in calls]

            assert [answer.replayed for answer in answers].count(False) == 1
            assert (
                len({replace(answer, replayed=True).entries[0].sequence for answer in answers}) == 1
            )
    account = driver.account("ada")

    assert account.balances[0].available == 200
    assert account.version == 20
    assert driver.verified("ada") == []
