"""Holds, returns and transfers of the reference model, worked out by hand."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from tests.properties.model import Program
from tests.properties.model_shapes import (
    ActivatePending,
    Adjust,
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
    UnfreezeMember,
)

START = datetime(2025, 1, 10, 12, tzinfo=UTC)
DAY = timedelta(days=1)
MONTH_ON = START + 30 * DAY
PLAIN = Settings(
    ZoneInfo("UTC"),
    (Strategy("long", "FIXED", days=100), Strategy("short", "FIXED", days=50)),
    pending_conversion=True,
)
DEBT = replace(PLAIN, returns_policy="ALLOW_DEBT")
OWN = replace(PLAIN, returns_policy="OWN_LOTS_ONLY")


def run(settings: Settings, *steps: Op | Lone | timedelta) -> tuple[Program, list[str]]:
    """Does step n under the request id `rn`; answers what moved or the refusal."""
    program, outcomes = Program(settings, START), list[str]()
    program.do(Command("n", "enrol", ()))
    for number, step in enumerate(steps):
        if isinstance(step, timedelta):
            program.advance(program.now + step)
            continue
        try:
            answer = program.do(Command("m", f"r{number}", (step,), single=True))
            outcomes.append(f"{sum(entry.points for entry in answer.entries)}")
        except Refused as refused:
            outcomes.append(refused.reason)
    return program, outcomes


# Settings, steps, what each step came to, and in the end available, pending, held, debt.
CASES: dict[
    str, tuple[Settings, Sequence[Op | Lone | timedelta], list[str], tuple[int, int, int, int]]
] = {
    "a hold is captured in part and the rest is there again": (
        PLAIN,
        [Earn(100), CreateHold(60), Redeem(50), CaptureHold("r1", 25), CaptureHold("r1")],
        ["100", "0", "INSUFFICIENT_POINTS", "-25", "HOLD_CLOSED"],
        (75, 0, 0, 0),
    ),
    "a hold lapses after an hour, just before it does not": (
        PLAIN,
        [
            Earn(100),
            CreateHold(60),
            timedelta(hours=1) - timedelta(microseconds=1),
            Redeem(50),
            timedelta(microseconds=1),
            Redeem(50),
            ReleaseHold("r1"),
        ],
        ["100", "0", "INSUFFICIENT_POINTS", "-50", "HOLD_CLOSED"],
        (50, 0, 0, 0),
    ),
    "what is held does not expire, and does when it is released": (
        PLAIN,
        [
            Earn(100),
            CreateHold(60, expire_time=START + 200 * DAY),
            150 * DAY,
            CaptureHold("r1", 10),
        ],
        # −10 captured and −50 expired; 40 had expired before.
        ["100", "0", "-60"],
        (0, 0, 0, 0),
    ),
    "hold, return, release: no points appear": (
        PLAIN,
        [Earn(100), CreateHold(60), ReversePosting("r0"), ReleaseHold("r1")],
        ["100", "0", "-40", "-60"],
        (0, 0, 0, 0),
    ),
    "redeem, return, restore: no points appear": (
        OWN,
        [
            Earn(100),
            Earn(50),
            Redeem(100),
            ReversePosting("r0"),
            ReversePosting("r2", cause="REWARD_FAILED"),
        ],
        ["100", "50", "-100", "0", "0"],
        (50, 0, 0, 0),
    ),
    "within the balance: others pay first, the rest is a claim": (
        PLAIN,
        [Earn(100), Redeem(100), Earn(30), ReversePosting("r0"), Earn(5)],
        ["100", "-100", "30", "-30", "5"],
        (5, 0, 0, 0),
    ),
    "debt is repaid first and comes back when what repaid it is reversed": (
        DEBT,
        [Earn(100), Redeem(100), ReversePosting("r0"), Earn(120), Redeem(1), ReversePosting("r3")],
        ["100", "-100", "-100", "120", "-1", "-120"],
        (0, 0, 0, 101),
    ),
    "in debt nothing is redeemed or held": (
        DEBT,
        [Earn(100), Redeem(90), ReversePosting("r0"), Redeem(1), CreateHold(1), Adjust(-1)],
        ["100", "-90", "-100", "IN_DEBT", "IN_DEBT", "INSUFFICIENT_POINTS"],
        (0, 0, 0, 90),
    ),
    "debt has a floor": (
        replace(DEBT, debt_floor=30),
        [Earn(100), Redeem(90), ReversePosting("r0"), ReversePosting("r1")],
        ["100", "-90", "-40", "30"],
        (0, 0, 0, 0),
    ),
    "what expired is gone, and is not taken from others": (
        PLAIN,
        [Earn(100, expiry="short"), Earn(100), Redeem(40), 60 * DAY, ReversePosting("r0")],
        ["100", "100", "-40", "-40"],
        (60, 0, 0, 0),
    ),
    "parts add up to the whole and no more": (
        PLAIN,
        [
            Earn(100),
            ReversePosting("r0", 30),
            ReversePosting("r0", 71),
            ReversePosting("r0", 70),
            ReversePosting("r0"),
        ],
        ["100", "-30", "REVERSAL_EXCEEDS", "-70", "REVERSAL_EXCEEDS"],
        (0, 0, 0, 0),
    ),
    "a restored redemption gives back the last drawn first, with its expiry": (
        PLAIN,
        [
            Earn(50, expiry="short"),
            Earn(50),
            Redeem(80),
            ReversePosting("r2", 40),
            60 * DAY,
            ReversePosting("r2"),
        ],
        # 30 to the long lot and 10 to the short one, which die; of the rest all is dead.
        ["50", "50", "-80", "40", "0"],
        (50, 0, 0, 0),
    ),
    "with grace it lives on for some days": (
        replace(PLAIN, grace_days=3),
        [
            Earn(50, expiry="short"),
            Redeem(50),
            60 * DAY,
            ReversePosting("r1"),
            3 * DAY - timedelta(microseconds=1),
        ],
        ["50", "-50", "50"],
        (50, 0, 0, 0),
    ),
    "an operator's reversal can be switched off, a failed reward's not": (
        replace(PLAIN, redemption_reversal=False),
        [
            Earn(50),
            Redeem(50),
            ReversePosting("r1"),
            ReversePosting("r1", cause="REWARD_FAILED"),
        ],
        ["50", "-50", "SETTING_OFF", "50"],
        (50, 0, 0, 0),
    ),
    "a capture is reversed like a redemption, a hold is not": (
        PLAIN,
        [Earn(50), CreateHold(50), CaptureHold("r1"), ReversePosting("r2"), ReversePosting("r1")],
        ["50", "0", "-50", "50", "NOT_REVERSIBLE"],
        (50, 0, 0, 0),
    ),
    "pending points are taken back before they mature": (
        PLAIN,
        [Earn(50, mature_time=START + 5 * DAY), ReversePosting("r0", 20), 6 * DAY],
        ["50", "-20"],
        (30, 0, 0, 0),
    ),
    "activated points count their expiry from now": (
        PLAIN,
        [
            Earn(50, mature_time=START + 40 * DAY),
            10 * DAY,
            ActivatePending(),
            ActivatePending(),
            100 * DAY - timedelta(microseconds=1),
        ],
        ["50", "0", "NOTHING_PENDING"],
        (50, 0, 0, 0),
    ),
    "a reversal gives room under a cap again, on its own day": (
        replace(PLAIN, limits=Limits(daily_cap=100)),
        [Earn(100), Earn(1), ReversePosting("r0", 40), Earn(100)],
        ["100", "0", "-40", "40"],
        (100, 0, 0, 0),
    ),
    "a frozen member does nothing but grow older": (
        PLAIN,
        [
            Earn(100),
            FreezeMember("why"),
            Redeem(1),
            FreezeMember("why"),
            100 * DAY,
            UnfreezeMember("so"),
            UnfreezeMember("so"),
        ],
        ["100", "0", "MEMBER_FROZEN", "MEMBER_FROZEN", "0", "MEMBER_NOT_FROZEN"],
        (0, 0, 0, 0),
    ),
    "a transfer takes what expires first": (
        PLAIN,
        [Earn(50), Earn(50, expiry="short"), TransferPoints("n", 60), 60 * DAY],
        ["50", "50", "-60"],
        (40, 0, 0, 0),
    ),
    "young points are not given away": (
        replace(PLAIN, transfer_age_days=10),
        [Earn(50), 9 * DAY, Earn(50), TransferPoints("n", 1), DAY, TransferPoints("n", 51)],
        ["50", "50", "INSUFFICIENT_POINTS", "INSUFFICIENT_POINTS"],
        (100, 0, 0, 0),
    ),
    "transfers have limits": (
        replace(PLAIN, transfer_minimum=5, transfer_maximum=20, transfer_count=2),
        [
            Earn(100),
            TransferPoints("n", 4),
            TransferPoints("n", 21),
            TransferPoints("n", 20),
            TransferPoints("n", 20),
            TransferPoints("n", 20),
            30 * DAY,
            TransferPoints("n", 20),
        ],
        ["100", "LIMIT_REACHED", "LIMIT_REACHED", "-20", "-20", "LIMIT_REACHED", "-20"],
        (40, 0, 0, 0),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_model_decides(name: str) -> None:
    settings, steps, expected, numbers = CASES[name]

    program, outcomes = run(settings, *steps)

    account = program.find("m")
    assert outcomes == expected
    assert numbers == (
        program.available(account, "points"),
        program.pending(account, "points"),
        program.held(account, "points"),
        program.debt(account, "points"),
    )


def test_a_transfer_keeps_the_expiry_of_every_lot() -> None:
    program, _ = run(PLAIN, Earn(50), Earn(50, expiry="short"), TransferPoints("n", 60))

    recipient = program.find("n")
    program.advance(START + 60 * DAY)
    assert program.available(recipient, "points") == 60
    assert program.available(program.find("n"), "points") == 10


def test_what_was_known_is_settled_to_its_instant_and_what_was_is_not() -> None:
    """A late redemption counts on its day, and was not known then."""
    program, _ = run(PLAIN, Earn(100, expiry="short"), 40 * DAY)
    late = Command("m", "late", (Redeem(30),), True, effective_time=START + DAY)
    program.do(late)
    program.advance(START + 60 * DAY)

    known = program.known_at("m", START + 30 * DAY)
    account = program.find("m")

    assert known is not None
    assert program.available(known, "points") == 100
    assert program.amounts_at(account, "points", START + 30 * DAY) == (70, 0, 0, 0)
    assert program.amounts_at(account, "points", START + 60 * DAY) == (0, 0, 0, 0)
