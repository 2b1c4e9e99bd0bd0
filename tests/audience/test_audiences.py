"""Audiences: made, read, changed, deleted; ranges of one group never overlap."""

import asyncio
from typing import Any

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from kernel.refusals import InvalidField
from loyalty.audience.v1 import audience_pb2
from loyalty.audience.v1.audience_pb2_grpc import AudienceServiceStub
from loyalty.ledger.v1 import program_pb2
from services.audience.domain.criteria import Criterion as Range
from services.audience.domain.criteria import Field, check_criteria, overlap
from testkit.keys import metadata, token
from tests.audience.audience_kit import AudienceUnderTest, Criterion, available, points, standing
from tests.ledger.programs_kit import refusal


def get(audience: str, program: str = "p1") -> audience_pb2.GetAudienceRequest:
    return audience_pb2.GetAudienceRequest(program=program, audience=audience)


def update(audience: str, *mask: str, etag: str = "", **changes: Any) -> Any:
    return audience_pb2.UpdateAudienceRequest(
        program="p1",
        audience=audience,
        changes=audience_pb2.Audience(**changes),
        etag=etag,
        update_mask=FieldMask(paths=mask),
    )


def delete(audience: str, etag: str = "") -> audience_pb2.DeleteAudienceRequest:
    return audience_pb2.DeleteAudienceRequest(program="p1", audience=audience, etag=etag)


def points_range(minimum: int | None, maximum: int | None) -> Range:
    return Range(Field.BALANCE, "points", minimum, maximum)


OVERLAPS = {
    "ranges that share one value": (points_range(0, 10), points_range(10, 20), True),
    "ranges that meet without sharing": (points_range(0, 9), points_range(10, 20), False),
    "one within the other": (points_range(0, 100), points_range(40, 50), True),
    "everything from a value, and up to it": (points_range(5, None), points_range(None, 5), True),
    "everything from a value, and below it": (points_range(5, None), points_range(None, 4), False),
    "two without a lower bound": (points_range(None, 1), points_range(None, 9), True),
    "another currency": (
        points_range(0, 10),
        Range(Field.BALANCE, "miles", 0, 10),
        False,
    ),
    "another field": (points_range(0, 10), Range(Field.AVAILABLE, "points", 0, 10), False),
    "a tier in both": (
        Range(Field.TIER, tiers=("gold", "silver")),
        Range(Field.TIER, tiers=("gold",)),
        True,
    ),
    "no tier in both": (
        Range(Field.TIER, tiers=("silver",)),
        Range(Field.TIER, tiers=("gold",)),
        False,
    ),
}


@pytest.mark.parametrize("name", OVERLAPS)
def test_ranges_overlap_where_a_value_is_in_both(name: str) -> None:
    one, other, expected = OVERLAPS[name]

    assert overlap(one, other) is expected
    assert overlap(other, one) is expected


def test_a_field_and_currency_has_one_range() -> None:
    twice = (points_range(0, None), points_range(None, 5))

    with pytest.raises(InvalidField) as refused:
        check_criteria(twice, "criteria")

    assert refused.value.violations[0].field == "criteria[1]"


async def test_a_member_with_enough_points_belongs(suite: AudienceUnderTest) -> None:
    await suite.earn("m1", 100)
    await suite.earn("m2", 99)
    await suite.create("rich", available(100))
    await suite.settled()

    found = await suite.audiences.GetAudience(get("rich"))

    assert found.size == 1
    assert (await suite.check("rich", "m1")).belongs
    assert not (await suite.check("rich", "m2")).belongs
    assert await suite.members("rich") == ["m1"]


async def test_an_audience_is_answered_as_it_was_made(suite: AudienceUnderTest) -> None:
    await suite.add_currency("miles")

    made = await suite.create(
        "a",
        available(1, 9),
        points(Criterion.LIFETIME_NET, 5, currency="miles"),
        standing("silver", "gold"),
        group="g",
        display_name="Those in between",
    )

    assert made == await suite.audiences.GetAudience(get("a"))
    assert (made.program, made.audience, made.display_name) == ("p1", "a", "Those in between")
    assert list(made.criteria) == [
        Criterion(field=Criterion.AVAILABLE, currency="points", minimum=1, maximum=9),
        points(Criterion.LIFETIME_NET, 5, currency="miles"),
        standing("gold", "silver"),
    ]
    assert made.size == 0
    assert made.HasField("size")


async def test_an_equal_audience_is_made_once(suite: AudienceUnderTest) -> None:
    first = await suite.create("a", available(1))
    again = await suite.create("a", points(Criterion.AVAILABLE, 1, currency="points"))
    other = await refusal(suite.create("a", available(2)))

    assert again == first
    assert other.reason == "AUDIENCE_EXISTS"
    assert other.metadata == {"audience": "a"}


async def test_an_audience_that_exists_is_named_before_its_currency(
    suite: AudienceUnderTest,
) -> None:
    await suite.create("a", available(1))
    unknown = points(Criterion.BALANCE, 1, currency="stars")

    assert (await refusal(suite.create("a", unknown))).reason == "AUDIENCE_EXISTS"
    refused = await refusal(suite.create("b", unknown))
    assert (refused.reason, refused.metadata) == ("CURRENCY_NOT_FOUND", {"currency": "stars"})


async def test_audiences_of_a_group_do_not_overlap(suite: AudienceUnderTest) -> None:
    await suite.create("low", available(None, 99), group="worth")
    await suite.create("high", available(200), group="worth")
    await suite.create("elsewhere", available(0, 500), group="other")
    await suite.create("alone", available(0, 500))

    refused = await refusal(suite.create("middle", available(99, 199), group="worth"))
    middle = await suite.create("middle", available(100, 199), group="worth")
    widened = await refusal(
        suite.audiences.UpdateAudience(update("middle", criteria=[available(100, 200)]))
    )
    joined = await refusal(suite.audiences.UpdateAudience(update("alone", group="worth")))

    assert (refused.code, refused.reason) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "RANGES_OVERLAP",
    )
    assert refused.metadata == {"audience": "low", "group": "worth"}
    assert widened.metadata == {"audience": "high", "group": "worth"}
    assert joined.reason == "RANGES_OVERLAP"
    assert await suite.audiences.GetAudience(get("middle")) == middle


@pytest.mark.parametrize("attempt", range(3))
async def test_of_overlapping_audiences_made_at_once_one_is_made(
    suite: AudienceUnderTest, attempt: int
) -> None:
    results = await asyncio.gather(
        *(suite.create(f"a{n}", available(n, n + 20), group="g") for n in range(12)),
        return_exceptions=True,
    )

    made = [each for each in results if isinstance(each, audience_pb2.Audience)]
    refused = [each for each in results if isinstance(each, grpc.aio.AioRpcError)]
    assert len(made) == 1
    assert {each.code() for each in refused} == {grpc.StatusCode.FAILED_PRECONDITION}
    assert await suite.rows.fetchval("SELECT count(*) FROM audience") == 1


async def test_of_updates_that_would_overlap_at_once_one_is_made(
    suite: AudienceUnderTest,
) -> None:
    for number in range(6):
        await suite.create(f"a{number}", available(number * 10, number * 10 + 5), group="g")

    results = await asyncio.gather(
        *(
            suite.audiences.UpdateAudience(update(f"a{n}", criteria=[available(1000, 2000)]))
            for n in range(6)
        ),
        return_exceptions=True,
    )

    assert sum(isinstance(each, audience_pb2.Audience) for each in results) == 1


async def test_an_update_changes_what_it_names(suite: AudienceUnderTest) -> None:
    made = await suite.create("a", available(10), group="g", display_name="Before")
    await suite.earn("m1", 5)
    await suite.settled()

    named = await suite.audiences.UpdateAudience(update("a", display_name="After"))
    wider = await suite.audiences.UpdateAudience(update("a", criteria=[available(5)]))
    alone = await suite.audiences.UpdateAudience(update("a", "group", display_name="Ignored"))
    same = await suite.audiences.UpdateAudience(update("a", display_name="After"))

    assert (made.size, named.display_name, named.group) == (0, "After", "g")
    assert wider.size == 1
    assert (alone.group, alone.display_name) == ("", "After")
    assert same == alone
    assert len({made.etag, named.etag, wider.etag, alone.etag}) == 4


async def test_a_stale_etag_changes_nothing(suite: AudienceUnderTest) -> None:
    made = await suite.create("a", available(10))
    now = await suite.audiences.UpdateAudience(update("a", etag=made.etag, display_name="x"))

    stale = await refusal(
        suite.audiences.UpdateAudience(update("a", etag=made.etag, display_name="y"))
    )
    kept = await refusal(suite.audiences.DeleteAudience(delete("a", made.etag)))

    assert (stale.reason, stale.metadata) == ("ETAG_STALE", {"etag": now.etag})
    assert kept.reason == "ETAG_STALE"
    assert await suite.audiences.GetAudience(get("a")) == now


async def test_one_of_many_updates_with_one_etag_wins(suite: AudienceUnderTest) -> None:
    made = await suite.create("a", available(10))

    results = await asyncio.gather(
        *(
            suite.audiences.UpdateAudience(update("a", etag=made.etag, display_name=f"n{n}"))
            for n in range(8)
        ),
        return_exceptions=True,
    )

    assert sum(isinstance(each, audience_pb2.Audience) for each in results) == 1


async def test_an_audience_made_again_has_another_etag(suite: AudienceUnderTest) -> None:
    first = await suite.create("a", available(10))
    await suite.audiences.DeleteAudience(delete("a", first.etag))
    gone = await refusal(suite.audiences.GetAudience(get("a")))
    again = await suite.create("a", available(10))

    assert gone.reason == "AUDIENCE_NOT_FOUND"
    assert again.etag != first.etag
    assert (await refusal(suite.audiences.DeleteAudience(delete("a", first.etag)))).reason == (
        "ETAG_STALE"
    )


async def test_audiences_are_listed_by_id_without_sizes(suite: AudienceUnderTest) -> None:
    for name in ("b", "a", "Z", "c", "~"):
        await suite.create(name, available(1))

    for size in (1, 2, 3, 1000):
        found, token_ = [], ""
        while True:
            page = await suite.audiences.ListAudiences(
                audience_pb2.ListAudiencesRequest(program="p1", page_size=size, page_token=token_)
            )
            found += page.audiences
            token_ = page.next_page_token
            if not token_:
                break

        assert [each.audience for each in found] == ["Z", "a", "b", "c", "~"], size
        assert not any(each.HasField("size") for each in found)


async def test_a_program_has_at_most_a_thousand_audiences(suite: AudienceUnderTest) -> None:
    await suite.create("a", available(1))
    await suite.rows.execute(
        "INSERT INTO audience SELECT program, 'b' || n, '', '', criteria, n "
        "FROM audience, generate_series(1, 999) n"
    )

    refused = await refusal(suite.create("one-more", available(1)))

    assert refused.reason == "LIMIT_REACHED"
    assert refused.metadata == {"limit_name": "audiences", "limit": "1000", "count": "1000"}


async def test_a_preview_says_who_would_belong_and_writes_nothing(
    suite: AudienceUnderTest,
) -> None:
    for number in range(25):
        await suite.earn(f"m{number:02}", 100 + number)
    await suite.settled()
    before = await suite.rows.fetchrow("SELECT * FROM program")

    preview = await suite.audiences.PreviewAudience(
        audience_pb2.PreviewAudienceRequest(program="p1", criteria=[available(101)])
    )

    assert preview.size == 24
    assert list(preview.members) == [f"m{number:02}" for number in range(1, 21)]
    assert preview.freshness.HasField("current_time")
    assert await suite.rows.fetchval("SELECT count(*) FROM audience") == 0
    assert await suite.rows.fetchrow("SELECT * FROM program") == before


async def test_nothing_of_another_organization_is_seen(suite: AudienceUnderTest) -> None:
    await suite.earn("m1", 100)
    await suite.create("rich", available(1))
    await suite.settled()
    await suite.ledger.create_organization("rival")
    stranger: Any = AudienceServiceStub(suite.channel)
    theirs = metadata(token("rival"))
    here: dict[str, Any] = {"program": "p1", "audience": "rich"}
    calls = [
        stranger.CreateAudience(
            audience_pb2.CreateAudienceRequest(
                program="p1",
                audience_id="x",
                audience=audience_pb2.Audience(criteria=[available(1)]),
            ),
            metadata=theirs,
        ),
        stranger.GetAudience(audience_pb2.GetAudienceRequest(**here), metadata=theirs),
        stranger.ListAudiences(audience_pb2.ListAudiencesRequest(program="p1"), metadata=theirs),
        stranger.UpdateAudience(update("rich", display_name="x"), metadata=theirs),
        stranger.DeleteAudience(delete("rich"), metadata=theirs),
        stranger.CheckMembership(
            audience_pb2.CheckMembershipRequest(**here, member="m1"), metadata=theirs
        ),
        stranger.ListMemberAudiences(
            audience_pb2.ListMemberAudiencesRequest(program="p1", member="m1"), metadata=theirs
        ),
        stranger.ListAudienceMembers(
            audience_pb2.ListAudienceMembersRequest(**here), metadata=theirs
        ),
        stranger.PreviewAudience(
            audience_pb2.PreviewAudienceRequest(program="p1", criteria=[available(1)]),
            metadata=theirs,
        ),
    ]

    assert {(await refusal(call)).reason for call in calls} == {"PROGRAM_NOT_FOUND"}


async def test_programs_of_two_organizations_with_one_name_are_apart(
    suite: AudienceUnderTest,
) -> None:
    await suite.ledger.create_organization("rival")
    await suite.earn("m1", 100)
    await suite.create("rich", available(1))
    await suite.settled()
    theirs = metadata(token("rival"))
    await suite.ledger.programs.CreateProgram(
        program_pb2.CreateProgramRequest(program="p1"), metadata=theirs
    )
    stub: Any = AudienceServiceStub(suite.channel)

    listed = await stub.ListAudiences(
        audience_pb2.ListAudiencesRequest(program="p1"), metadata=theirs
    )
    preview = await stub.PreviewAudience(
        audience_pb2.PreviewAudienceRequest(program="p1", criteria=[available(0)]),
        metadata=theirs,
    )

    assert not listed.audiences
    assert (preview.size, list(preview.members)) == (0, [])
