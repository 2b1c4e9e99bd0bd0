"""Ladders through a real server: made, read, changed, refused."""

import asyncio

from google.protobuf.field_mask_pb2 import FieldMask

from loyalty.ledger.v1.resources_pb2 import CounterWindow
from loyalty.tiers.v1 import tiers_pb2
from tests.tiers.kit import LedgerServer, Tiers, at, criterion, metals, refusal, tier


def creation(ladder: tiers_pb2.Ladder, ladder_id: str = "status") -> tiers_pb2.CreateLadderRequest:
    return tiers_pb2.CreateLadderRequest(program="p1", ladder_id=ladder_id, ladder=ladder)


def update(
    changes: tiers_pb2.Ladder, *mask: str, ladder: str = "status", etag: str = ""
) -> tiers_pb2.UpdateLadderRequest:
    return tiers_pb2.UpdateLadderRequest(
        program="p1", ladder=ladder, changes=changes, etag=etag, update_mask=FieldMask(paths=mask)
    )


async def test_a_program_without_a_ladder_has_one(
    ledger_server: LedgerServer, quiet: Tiers
) -> None:
    ladder = await quiet.stub.GetLadder(tiers_pb2.GetLadderRequest(program="p1", ladder="default"))
    listed = await quiet.stub.ListLadders(tiers_pb2.ListLaddersRequest(program="p1"))
    await ledger_server.enrol("m1", effective_time=at(2026))
    membership = await quiet.membership("m1")
    evaluated = await quiet.evaluate("m1")
    other = await refusal(
        quiet.stub.GetLadder(tiers_pb2.GetLadderRequest(program="p1", ladder="status"))
    )
    fixed = await refusal(quiet.stub.UpdateLadder(update(metals(), ladder="default")))

    assert [(each.tier, each.earning_rate) for each in ladder.tiers] == [("member", "1")]
    assert (ladder.ladder, ladder.version) == ("default", 0)
    assert list(listed.ladders) == [ladder]
    assert (membership.ladder, membership.tier.tier, membership.since) == (
        "default",
        "member",
        at(2026),
    )
    assert not membership.HasField("next")
    assert evaluated.tier == membership.tier
    assert await quiet.history("m1") == []
    assert (other.reason, fixed.reason) == ("LADDER_NOT_FOUND", "LADDER_NOT_FOUND")


async def test_a_ladder_is_created_once(ledger_server: LedgerServer, quiet: Tiers) -> None:
    created = await quiet.create_ladder(metals(display_name="Status"))
    again = await quiet.create_ladder(metals(display_name="Status"))
    other = await refusal(quiet.stub.CreateLadder(creation(metals())))
    second = await refusal(quiet.stub.CreateLadder(creation(metals(), "second")))
    read = await quiet.stub.GetLadder(tiers_pb2.GetLadderRequest(program="p1", ladder="status"))
    listed = await quiet.stub.ListLadders(tiers_pb2.ListLaddersRequest(program="p1"))

    assert (created.program, created.ladder, created.version) == ("p1", "status", 1)
    assert created.tiers[1].match == tiers_pb2.Tier.ALL
    assert again == created == read
    assert list(listed.ladders) == [created]
    assert (other.reason, other.metadata) == ("LADDER_EXISTS", {"ladder": "status"})
    assert (second.reason, second.metadata["limit"]) == ("LIMIT_REACHED", "1")


async def test_a_repeated_creation_answers_the_ladder_as_it_is_now(
    ledger_server: LedgerServer, quiet: Tiers
) -> None:
    await quiet.create_ladder(metals())
    changed = await quiet.stub.UpdateLadder(update(tiers_pb2.Ladder(display_name="New")))

    assert await quiet.create_ladder(metals()) == changed


async def test_of_many_creations_at_once_one_is_made(
    ledger_server: LedgerServer, quiet: Tiers
) -> None:
    same = await asyncio.gather(*(quiet.create_ladder(metals()) for _ in range(8)))
    versions = await quiet.rows.fetchval("SELECT count(*) FROM ladder_version")

    assert {each.version for each in same} == {1}
    assert versions == 1


async def test_what_no_ladder_may_be_is_refused(ledger_server: LedgerServer, quiet: Tiers) -> None:
    timed = criterion(1)
    timed.window.time.CopyFrom(at(2026))
    base = tier("bronze")
    cases = {
        "no tiers": (tiers_pb2.Ladder(), "ladder.tiers"),
        "21 tiers": (
            tiers_pb2.Ladder(tiers=[base, *(tier(f"t{n}", criterion(1)) for n in range(20))]),
            "ladder.tiers",
        ),
        "a base with criteria": (
            tiers_pb2.Ladder(tiers=[tier("bronze", criterion(1))]),
            "ladder.tiers[0].criteria",
        ),
        "a tier without criteria": (
            tiers_pb2.Ladder(tiers=[base, tier("silver")]),
            "ladder.tiers[1].criteria",
        ),
        "an id twice": (
            tiers_pb2.Ladder(tiers=[base, tier("bronze", criterion(1))]),
            "ladder.tiers[1].tier",
        ),
        "an id that is none": (tiers_pb2.Ladder(tiers=[tier("a b")]), "ladder.tiers[0].tier"),
        "a rate above 100": (
            tiers_pb2.Ladder(tiers=[tier("bronze", earning_rate="100.01")]),
            "ladder.tiers[0].earning_rate",
        ),
        "a rate that is no number": (
            tiers_pb2.Ladder(tiers=[tier("bronze", earning_rate="a lot")]),
            "ladder.tiers[0].earning_rate",
        ),
        "a threshold of 0": (
            tiers_pb2.Ladder(tiers=[base, tier("silver", criterion(0))]),
            "ladder.tiers[1].criteria[0].threshold",
        ),
        "no window": (
            tiers_pb2.Ladder(tiers=[base, tier("silver", tiers_pb2.Criterion(threshold=1))]),
            "ladder.tiers[1].criteria[0].window",
        ),
        "a rolling window without a length": (
            tiers_pb2.Ladder(
                tiers=[base, tier("silver", criterion(1, period=CounterWindow.ROLLING_DAYS))]
            ),
            "ladder.tiers[1].criteria[0].window",
        ),
        "a window of a certain time": (
            tiers_pb2.Ladder(tiers=[base, tier("silver", timed)]),
            "ladder.tiers[1].criteria[0].window.time",
        ),
        "a match that is none": (
            tiers_pb2.Ladder(tiers=[tiers_pb2.Tier(tier="bronze", match=9)]),  # type: ignore[arg-type]  # on purpose
            "ladder.tiers[0].match",
        ),
        "a NUL": (
            tiers_pb2.Ladder(tiers=[tier("bronze", benefits=["a\x00"])]),
            "ladder.tiers[0].benefits[0]",
        ),
    }

    for name, (ladder, field) in cases.items():
        refused = await refusal(quiet.stub.CreateLadder(creation(ladder)))

        assert (refused.reason, refused.fields) == ("INVALID_FIELD", (field,)), name


async def test_criteria_name_counters_of_the_program(
    ledger_server: LedgerServer, quiet: Tiers
) -> None:
    def reading(counter: str) -> tiers_pb2.Ladder:
        return tiers_pb2.Ladder(tiers=[tier("bronze"), tier("silver", criterion(1, counter))])

    unknown = await refusal(quiet.stub.CreateLadder(creation(reading("steps"))))
    currency = await refusal(quiet.stub.CreateLadder(creation(reading("points_earned:miles"))))
    program = await refusal(
        quiet.stub.CreateLadder(
            tiers_pb2.CreateLadderRequest(program="none", ladder_id="l", ladder=metals())
        )
    )
    await quiet.create_ladder(reading("points_earned"))
    named = await quiet.stub.UpdateLadder(update(reading("points_earned:points")))
    later = await refusal(quiet.stub.UpdateLadder(update(reading("steps"))))

    assert (unknown.reason, unknown.metadata) == ("COUNTER_NOT_FOUND", {"counter": "steps"})
    assert currency.reason == "COUNTER_NOT_FOUND"
    assert (program.reason, program.metadata) == ("PROGRAM_NOT_FOUND", {"program": "none"})
    assert named.version == 2
    assert later.reason == "COUNTER_NOT_FOUND"


async def test_a_change_is_a_new_version(ledger_server: LedgerServer, quiet: Tiers) -> None:
    first = await quiet.create_ladder(metals())
    named = await quiet.stub.UpdateLadder(
        update(tiers_pb2.Ladder(display_name="Status"), etag=first.etag)
    )
    same = await quiet.stub.UpdateLadder(update(tiers_pb2.Ladder(display_name="Status")))
    stale = await refusal(
        quiet.stub.UpdateLadder(update(tiers_pb2.Ladder(display_name="X"), etag=first.etag))
    )
    emptied = await quiet.stub.UpdateLadder(update(metals(), "display_name"))
    rows = await quiet.rows.fetch("SELECT version, actor FROM ladder_version ORDER BY version")

    assert (named.version, named.display_name, named.tiers) == (2, "Status", first.tiers)
    assert same == named
    assert (stale.reason, stale.metadata) == ("ETAG_STALE", {"etag": named.etag})
    assert (emptied.version, emptied.display_name) == (3, "")
    assert [tuple(row) for row in rows] == [(1, "tester"), (2, "tester"), (3, "tester")]


async def test_a_change_must_leave_a_ladder(ledger_server: LedgerServer, quiet: Tiers) -> None:
    await quiet.create_ladder(metals())

    empty = await refusal(quiet.stub.UpdateLadder(update(tiers_pb2.Ladder(), "tiers")))
    unknown = await refusal(quiet.stub.UpdateLadder(update(metals(), "version")))
    missing = await refusal(quiet.stub.UpdateLadder(update(metals(), ladder="other")))

    assert (empty.reason, empty.fields) == ("INVALID_FIELD", ("changes.tiers",))
    assert (unknown.reason, unknown.fields) == ("INVALID_FIELD", ("update_mask",))
    assert missing.reason == "LADDER_NOT_FOUND"


async def test_a_tier_with_members_cannot_be_taken_out(
    ledger_server: LedgerServer, quiet: Tiers
) -> None:
    await quiet.create_ladder(metals())
    await ledger_server.count("m1", 30_000)
    await quiet.evaluate("m1")
    without_silver = tiers_pb2.Ladder(tiers=[metals().tiers[0], metals().tiers[2]])
    without_gold = tiers_pb2.Ladder(tiers=metals().tiers[:2])

    in_use = await refusal(quiet.stub.UpdateLadder(update(without_silver)))
    changed = await quiet.stub.UpdateLadder(update(without_gold))
    membership = await quiet.membership("m1")

    assert (in_use.reason, in_use.metadata) == ("TIER_IN_USE", {"tier": "silver"})
    assert [each.tier for each in changed.tiers] == ["bronze", "silver"]
    assert (membership.tier.tier, membership.ladder_version) == ("silver", 2)
    assert not membership.HasField("next")


async def test_nobody_falls_by_a_change_and_some_rise_at_their_next_evaluation(
    ledger_server: LedgerServer, quiet: Tiers
) -> None:
    await quiet.create_ladder(metals())
    await ledger_server.count("high", 30_000)
    await ledger_server.count("low", 20_000)
    await quiet.evaluate("high")
    await quiet.evaluate("low")
    harder, easier = metals(), metals()
    harder.tiers[1].criteria[0].threshold = 90_000
    easier.tiers[1].criteria[0].threshold = 10_000

    await quiet.stub.UpdateLadder(update(harder))
    kept = await quiet.evaluate("high")
    await quiet.stub.UpdateLadder(update(easier))
    before = await quiet.membership("low")
    after = await quiet.evaluate("low")
    history = await quiet.history("low")

    assert kept.tier.tier == "silver"
    assert (before.tier.tier, after.tier.tier) == ("bronze", "silver")
    assert [each.ladder_version for each in history] == [3, 1]


async def test_a_list_of_ladders_ends_after_one(ledger_server: LedgerServer, quiet: Tiers) -> None:
    wrong = await refusal(
        quiet.stub.ListLadders(tiers_pb2.ListLaddersRequest(program="p1", page_token="nonsense"))
    )
    listed = await quiet.stub.ListLadders(tiers_pb2.ListLaddersRequest(program="p1", page_size=1))

    assert wrong.reason == "INVALID_PAGE_TOKEN"
    assert listed.next_page_token == ""
