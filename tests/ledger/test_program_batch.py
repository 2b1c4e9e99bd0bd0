"""Settings of many programs at once: all or none, one revision each, in an order of locks."""

import asyncio
from collections.abc import Sequence
from typing import Any

import grpc
import pytest
from google.protobuf import json_format

from loyalty.ledger.v1 import ledger_pb2, program_pb2
from services.ledger.store.program_writes import save_program
from testkit import keys
from testkit.servers import authorized_channel
from tests.ledger.programs_kit import LedgerUnderTest, at, refusal

Settings = program_pb2.ProgramSettings
General = program_pb2.GeneralSettings
Points = program_pb2.PointsSettings
Batch = program_pb2.BatchUpdateProgramSettingsRequest


def item(program: str, /, *paths: str, etag: str = "", **fields: Any) -> Batch.Item:
    """What to change of one program, with the paths as the mask."""
    made = Batch.Item(program=program, settings=Settings(**fields), etag=etag)
    made.update_mask.paths.extend(paths)
    return made


async def batch(ledger: LedgerUnderTest, *items: Batch.Item, **fields: Any) -> Any:
    """Change settings of several programs."""
    return await ledger.programs.BatchUpdateProgramSettings(Batch(items=items, **fields))


async def allow(ledger: LedgerUnderTest, *, on: bool = True) -> None:
    """Switch `bulk_updates` of the organization."""
    request = program_pb2.UpdateOrganizationRequest(organization=program_pb2.Organization())
    request.organization.settings.bulk_updates = on
    request.update_mask.paths.append("settings.bulk_updates")
    await ledger.programs.UpdateOrganization(request)


async def furnish(ledger: LedgerUnderTest, *programs: str) -> None:
    """Programs of an organization that may change them together."""
    await allow(ledger)
    for program in programs:
        await ledger.create_program(program)


async def current(ledger: LedgerUnderTest, program: str) -> Settings:
    """The settings of a program."""
    found: Settings = await ledger.programs.GetProgramSettings(
        program_pb2.GetProgramSettingsRequest(program=program)
    )
    return found


def told(changes: Any) -> dict[str, tuple[Any, Any]]:
    """Changes by path: before and after."""
    return {
        each.path: (json_format.MessageToDict(each.before), json_format.MessageToDict(each.after))
        for each in changes
    }


def caps(programs: Sequence[str], cap: int) -> list[Batch.Item]:
    """A daily cap for each of the programs."""
    return [item(program, points=Points(daily_cap=cap)) for program in programs]


async def test_programs_change_together_in_one_revision_each(ledger: LedgerUnderTest) -> None:
    await furnish(ledger, "p1", "p2", "p3")
    await batch(ledger, item("p3", redemption=program_pb2.RedemptionSettings(step=5)))
    items = [
        item("p3", "redemption", "points.daily_cap", points=Points(daily_cap=3, monthly_cap=4)),
        item("p1", points=Points(daily_cap=1)),
        item("p2", points=Points(expiry_notice_days=0)),
    ]

    preview = await batch(ledger, *items, validate_only=True)
    untouched = [(await current(ledger, program)).revision for program in ("p1", "p2", "p3")]
    answer = await batch(ledger, *items, reason="spring")
    rows = await ledger.rows.fetch(
        "SELECT p.id, r.revision, r.actor, r.reason FROM program_revision r"
        " JOIN program p ON p.key = r.program WHERE r.reason = 'spring' ORDER BY p.id"
    )

    assert untouched == [1, 1, 2]
    assert preview == answer
    assert [(each.program, told(each.changes)) for each in answer.results] == [
        ("p3", {"points.daily_cap": (None, "3"), "redemption.step": ("5", "1")}),
        ("p1", {"points.daily_cap": (None, "1")}),
        ("p2", {}),
    ]
    assert [tuple(row) for row in rows] == [
        ("p1", 2, "tester", "spring"),
        ("p3", 3, "tester", "spring"),
    ]
    for result in answer.results:
        assert result.settings == await current(ledger, result.program)
    assert not answer.results[0].settings.points.HasField("monthly_cap")


async def test_without_the_organizations_word_it_is_refused(ledger: LedgerUnderTest) -> None:
    await furnish(ledger, "p1")
    await allow(ledger, on=False)

    refused = await refusal(batch(ledger, *caps(["p1"], 1), validate_only=True))
    organization = await ledger.programs.GetOrganization(program_pb2.GetOrganizationRequest())
    await allow(ledger)
    await batch(ledger, *caps(["p1"], 1))

    assert (refused.code, refused.reason, refused.metadata) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "SETTING_OFF",
        {"setting": "bulk_updates"},
    )
    assert organization.settings.multiple_programs
    assert (await current(ledger, "p1")).points.daily_cap == 1


REFUSED: dict[str, tuple[Batch.Item, str, dict[str, str], tuple[str, ...]]] = {
    "a program that there is not": (
        item("p9", points=Points(daily_cap=7)),
        "PROGRAM_NOT_FOUND",
        {"program": "p9", "operation": "1"},
        (),
    ),
    "a stale etag": (
        item("p2", etag="settings-7", points=Points(daily_cap=7)),
        "ETAG_STALE",
        {"etag": "settings-1", "operation": "1"},
        (),
    ),
    "a path that names nothing": (
        item("p2", "points", "nothing"),
        "INVALID_FIELD",
        {"field": "items[1].update_mask"},
        ("items[1].update_mask",),
    ),
    "a value out of bounds": (
        item("p2", points=Points(daily_cap=-1)),
        "INVALID_FIELD",
        {"field": "items[1].settings.points.daily_cap"},
        ("items[1].settings.points.daily_cap",),
    ),
    "a contradiction": (
        item("p2", program=General(currency_code="ZZZ", start=at(2027), end=at(2026))),
        "INVALID_FIELD",
        {"field": "items[1].settings.program.currency_code"},
        ("items[1].settings.program.currency_code", "items[1].settings.program.end"),
    ),
    "a time zone that is fixed": (
        item("p2", program=General(time_zone="Asia/Tokyo")),
        "SETTING_FIXED",
        {"field": "program.time_zone", "operation": "1"},
        (),
    ),
    "a strategy that there is not": (
        item("p2", points=Points(default_expiry="year")),
        "EXPIRY_STRATEGY_NOT_FOUND",
        {"strategy": "year", "operation": "1"},
        (),
    ),
    "a program that is named twice": (
        item("p1", points=Points(daily_cap=7)),
        "INVALID_FIELD",
        {"field": "items[1].program"},
        ("items[1].program",),
    ),
}


async def test_if_one_is_refused_none_is_changed(ledger: LedgerUnderTest) -> None:
    await furnish(ledger, "p1", "p2", "p3")
    await ledger.rows.execute("UPDATE program SET posted = true WHERE id = 'p2'")

    for case, (wrong, reason, metadata, fields) in REFUSED.items():
        items = [*caps(["p1"], 7), wrong, *caps(["p3"], 7)]
        refused = await refusal(batch(ledger, *items))
        previewed = await refusal(batch(ledger, *items, validate_only=True))

        assert (refused.reason, refused.metadata) == (reason, metadata), case
        assert refused.fields == fields
        assert previewed == refused
    revisions = [(await current(ledger, program)).revision for program in ("p1", "p2", "p3")]

    assert revisions == [1, 1, 1]


async def test_a_batch_has_1_to_100_programs(ledger: LedgerUnderTest) -> None:
    await furnish(ledger, "p1")

    none = await refusal(batch(ledger))
    many = await refusal(batch(ledger, *caps([f"p{n}" for n in range(101)], 1)))

    assert (none.reason, none.fields) == ("INVALID_FIELD", ("items",))
    assert (many.reason, many.fields) == ("INVALID_FIELD", ("items",))


async def test_batches_that_meet_the_same_programs_both_ways_do_not_deadlock(
    ledger: LedgerUnderTest,
) -> None:
    programs = [f"p{n}" for n in range(12)]
    await furnish(ledger, *programs)

    await asyncio.gather(
        *[
            batch(ledger, *caps(programs if n % 2 else programs[::-1], n), reason=str(n))
            for n in range(1, 7)
        ]
    )
    found = {(await current(ledger, program)).points.daily_cap for program in programs}
    orders = await ledger.rows.fetch(
        "SELECT array_agg(reason ORDER BY revision) FROM program_revision GROUP BY program"
    )

    assert len(found) == 1
    assert len({tuple(row[0]) for row in orders}) == 1
    assert len(orders[0][0]) == 7


async def test_of_batches_with_the_same_etags_one_is_applied_whole(
    ledger: LedgerUnderTest,
) -> None:
    await furnish(ledger, "p1", "p2")

    answers = await asyncio.gather(
        *[
            batch(
                ledger,
                item(first, etag="settings-1", points=Points(daily_cap=n)),
                item(second, etag="settings-1", points=Points(daily_cap=n)),
            )
            for n, (first, second) in enumerate([("p1", "p2"), ("p2", "p1")] * 4, 1)
        ],
        return_exceptions=True,
    )
    applied = [answer for answer in answers if not isinstance(answer, BaseException)]

    assert len(applied) == 1
    for result in applied[0].results:
        assert result.settings == await current(ledger, result.program)


async def test_a_batch_that_dies_on_the_way_changes_nothing(
    ledger: LedgerUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    await furnish(ledger, "p1", "p2", "p3")
    saved = []

    async def dying(connection: Any, program: Any) -> None:
        await save_program(connection, program)
        saved.append(program.id)
        if len(saved) == 2:
            raise RuntimeError("the process dies here")

    monkeypatch.setattr("services.ledger.operations.configure_program.save_program", dying)
    with pytest.raises(grpc.aio.AioRpcError):
        await batch(ledger, *caps(["p1", "p2", "p3"], 1))
    monkeypatch.undo()
    revisions = [(await current(ledger, program)).revision for program in ("p1", "p2", "p3")]
    changes = await ledger.rows.fetchval("SELECT count(*) FROM program_change")

    assert (saved, revisions, changes) == (["p1", "p2"], [1, 1, 1], 3)


async def test_changes_appear_on_the_stream_in_the_order_of_their_commits(
    ledger: LedgerUnderTest,
) -> None:
    programs = [f"p{n}" for n in range(10)]
    await furnish(ledger, *programs)
    await batch(ledger, *caps(programs, 1))
    await batch(ledger, *caps(programs[::-1], 2))
    await batch(ledger, *caps(programs, 3), validate_only=True)

    seen: dict[str, list[int]] = {program: [] for program in programs}
    sequences: dict[int, list[int]] = {}
    stream = ledger.points.WatchChanges(ledger_pb2.WatchChangesRequest())
    async with asyncio.timeout(20):
        async for answer in stream:
            for change in answer.changes:
                seen[change.program].append(change.program_changed.revision)
                sequences.setdefault(change.bucket, []).append(change.sequence)
            if sum(map(len, seen.values())) >= 30:
                break
    stream.cancel()

    assert seen == {program: [1, 2, 3] for program in programs}
    assert all(found == list(range(1, len(found) + 1)) for found in sequences.values())


async def test_another_organizations_programs_are_not_there(ledger: LedgerUnderTest) -> None:
    await furnish(ledger, "p1")
    await batch(ledger, *caps(["p1"], 1))
    await ledger.create_organization("other")
    async with authorized_channel(ledger.port, keys.token(organization="other")) as channel:
        stranger = LedgerUnderTest(ledger.port, ledger.settler, ledger.cache, ledger.rows, channel)
        await furnish(stranger, "p2")
        changed = await refusal(batch(stranger, *caps(["p2", "p1"], 9)))
        listed = await refusal(
            stranger.programs.ListSettingsRevisions(
                program_pb2.ListSettingsRevisionsRequest(program="p1")
            )
        )
        restored = await refusal(
            stranger.programs.RestoreSettingsRevision(
                program_pb2.RestoreSettingsRevisionRequest(program="p1", revision=1)
            )
        )
        own = await current(stranger, "p2")

    assert {changed.reason, listed.reason, restored.reason} == {"PROGRAM_NOT_FOUND"}
    assert own.revision == 1
    assert (await current(ledger, "p1")).points.daily_cap == 1
