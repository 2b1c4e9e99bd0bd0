"""Who belongs: a member's answer, a member's audiences, an audience's members, how current."""

import asyncio
import random
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loyalty.audience.v1 import audience_pb2
from loyalty.audience.v1.audience_pb2_grpc import AudienceServiceStub
from loyalty.common.v1 import clock_pb2
from loyalty.ledger.v1 import program_pb2
from services.audience.__main__ import build, opened
from services.audience.domain.criteria import Criterion as Range
from services.audience.domain.criteria import Field, belongs
from services.audience.domain.profile import Holding, Profile
from services.audience.store import matching, profiles, programs
from testkit import keys
from testkit.keys import metadata, token
from testkit.servers import authorized_channel, running
from tests.audience.audience_kit import (
    AUTO_ENROL,
    AudienceUnderTest,
    Criterion,
    audience_settings,
    available,
    eventually,
    points,
    standing,
    values,
)
from tests.ledger.programs_kit import refusal


def check_request(audience: str, member: str) -> audience_pb2.CheckMembershipRequest:
    return audience_pb2.CheckMembershipRequest(program="p1", member=member, audience=audience)


async def audiences_of(
    suite: AudienceUnderTest, member: str, size: int = 0, **call: Any
) -> list[str]:
    found: list[str] = []
    token_ = ""
    while True:
        page = await suite.audiences.ListMemberAudiences(
            audience_pb2.ListMemberAudiencesRequest(
                program="p1", member=member, page_size=size, page_token=token_
            ),
            **call,
        )
        found += [each.audience for each in page.audiences]
        token_ = page.next_page_token
        if not token_:
            return found


async def test_an_answer_shows_the_values_that_decided(suite: AudienceUnderTest) -> None:
    await suite.add_currency("miles")
    await suite.create(
        "a",
        available(50, 100),
        points(Criterion.LIFETIME_EARNED, 200),
        points(Criterion.BALANCE, None, 0, currency="miles"),
        standing("gold"),
    )
    await suite.earn("m1", 150)
    await suite.redeem("m1", 90)
    suite.tiers.move("m1", "gold")
    await suite.settled()

    checked = await suite.check("a", "m1")

    assert not checked.belongs
    assert values(checked) == [
        (True, 60, ""),
        (False, 150, ""),
        (True, 0, ""),
        (True, 0, "gold"),
    ]
    assert checked.results[0].criterion.currency == "points"


async def test_bounds_belong_to_the_range(suite: AudienceUnderTest) -> None:
    await suite.create("a", available(10, 20))
    for number in (9, 10, 20, 21):
        await suite.earn(f"m{number}", number)
    await suite.settled()

    assert await suite.members("a") == ["m10", "m20"]
    assert [(await suite.check("a", f"m{n}")).belongs for n in (9, 10, 20, 21)] == [
        False,
        True,
        True,
        False,
    ]


async def test_a_member_without_points_has_none(suite: AudienceUnderTest) -> None:
    await suite.create("poor", available(None, 0))
    await suite.create("rich", available(1))
    await suite.enrol("m1")
    await suite.settled()

    assert await audiences_of(suite, "m1") == ["poor"]
    assert await suite.members("poor") == ["m1"]


async def test_nobody_is_found_who_is_unknown_to_all(suite: AudienceUnderTest) -> None:
    await suite.create("a", available(1))

    took: list[float] = []
    for _ in range(3):
        began = time.monotonic()
        refused = await refusal(suite.check("a", "nobody"))
        listed = await refusal(audiences_of(suite, "nobody"))
        took.append(time.monotonic() - began)

    assert (refused.code, refused.reason) == (grpc.StatusCode.NOT_FOUND, "MEMBER_NOT_FOUND")
    assert refused.metadata == {"member": "nobody"}
    assert listed.reason == "MEMBER_NOT_FOUND"
    assert min(took) < 0.9, "it is waited for as for a member whose profile is on its way"


async def test_an_audience_that_is_not_there_is_named_before_the_member(
    suite: AudienceUnderTest,
) -> None:
    for program, expected in (("p1", "AUDIENCE_NOT_FOUND"), ("p2", "PROGRAM_NOT_FOUND")):
        assert (await refusal(suite.check("a", "nobody", program))).reason == expected


async def test_a_member_whose_profile_is_on_its_way_is_waited_for(
    suite: AudienceUnderTest,
) -> None:
    await suite.create("a", available(1))
    for number in range(5):
        await suite.earn(f"new{number}", 5)

        assert values(await suite.check("a", f"new{number}")) == [(True, 5, "")]


async def test_a_member_whose_profile_does_not_come_has_nothing(
    suite: AudienceUnderTest, postgres: Any
) -> None:
    settings_ = audience_settings(postgres.fresh("audience"), suite.ledger.port, 9)
    async with opened(settings_, keys.issuer()) as context:
        server = build(settings_, context, keys.verifier())
        async with running(server) as port, authorized_channel(port) as channel:
            stub: Any = AudienceServiceStub(channel)
            await stub.CreateAudience(
                audience_pb2.CreateAudienceRequest(
                    program="p1",
                    audience_id="a",
                    audience=audience_pb2.Audience(criteria=[available(1)]),
                )
            )
            await suite.earn("m1", 5)
            began = time.monotonic()

            checked = await stub.CheckMembership(check_request("a", "m1"))

            assert values(checked) == [(False, 0, "")]
            assert 0.9 < time.monotonic() - began < 10
            assert not checked.freshness.HasField("current_time")


async def test_without_the_ledger_what_is_known_is_answered(
    suite: AudienceUnderTest,
) -> None:
    await suite.create("a", available(1))
    await suite.earn("m1", 5)
    await suite.settled()
    settings_ = suite.settings.model_copy(
        update={"ledger_address": "127.0.0.1:9", "tiers_address": "127.0.0.1:9"}
    )
    async with opened(settings_, keys.issuer()) as context:
        server = build(settings_, context, keys.verifier())
        async with running(server) as port, authorized_channel(port) as channel:
            stub: Any = AudienceServiceStub(channel)

            checked = await stub.CheckMembership(check_request("a", "m1"))
            unknown = await refusal(stub.CheckMembership(check_request("a", "m2")))

    assert checked.belongs
    assert (unknown.reason, unknown.metadata) == (
        "DEPENDENCY_UNAVAILABLE",
        {"dependency": "ledger"},
    )


async def test_pages_give_every_audience_and_member_once(suite: AudienceUnderTest) -> None:
    names = ["Z", "a", "b", "m|1", "x@y", "~"]
    for number, name in enumerate(names):
        await suite.create(f"a{number}", available(1, 100 - number))
        await suite.earn(name, 50)
    await suite.create("not", available(1000))
    await suite.settled()

    for size in (1, 2, 3, 7, 1000):
        assert await suite.members("a0", size=size) == names, size
        assert await audiences_of(suite, "a", size) == [f"a{number}" for number in range(6)], size


async def test_a_page_token_belongs_to_its_query(suite: AudienceUnderTest) -> None:
    await suite.create("a", available(1))
    await suite.create("b", available(1))
    for name in ("m1", "m2"):
        await suite.earn(name, 50)
    await suite.settled()
    page = await suite.audiences.ListAudienceMembers(
        audience_pb2.ListAudienceMembersRequest(program="p1", audience="a", page_size=1)
    )

    other = await refusal(
        suite.audiences.ListAudienceMembers(
            audience_pb2.ListAudienceMembersRequest(
                program="p1", audience="b", page_token=page.next_page_token
            )
        )
    )

    assert other.reason == "INVALID_PAGE_TOKEN"


async def test_a_member_sees_its_own_audiences_and_nothing_else(
    suite: AudienceUnderTest,
) -> None:
    await suite.create("a", available(1))
    await suite.earn("m1", 5)
    await suite.earn("m2", 5)
    await suite.settled()
    own = metadata(token(member="m1", program="p1"))

    listed = await audiences_of(suite, "m1", metadata=own)
    others = await refusal(audiences_of(suite, "m2", metadata=own))
    checked = await refusal(suite.audiences.CheckMembership(check_request("a", "m1"), metadata=own))

    assert listed == ["a"]
    assert others.code == grpc.StatusCode.PERMISSION_DENIED
    assert checked.code == grpc.StatusCode.PERMISSION_DENIED


async def test_a_credential_of_audiences_alone_is_enough(suite: AudienceUnderTest) -> None:
    reads = metadata(token(scopes={"audiences:read"}))
    await suite.create("a", available(1))
    await suite.enrol("m1")

    assert await audiences_of(suite, "m1", metadata=reads) == []
    preview = await suite.audiences.PreviewAudience(
        audience_pb2.PreviewAudienceRequest(program="p1", criteria=[available(0)]), metadata=reads
    )
    assert preview.size == 1


async def test_an_answer_says_how_old_it_is(suite: AudienceUnderTest) -> None:
    await suite.create("a", available(1))
    await suite.earn("m1", 5)
    await suite.settled()
    settled = datetime.now(UTC)

    async def heard_of_since() -> bool:
        freshness = (await suite.check("a", "m1")).freshness
        return freshness.current_time.ToDatetime(tzinfo=UTC) > settled

    # Both streams tell how far they are, also while nothing happens.
    await eventually(heard_of_since)
    before = datetime.now(UTC)
    freshness = (await suite.check("a", "m1")).freshness
    after = datetime.now(UTC)

    now = freshness.current_time.ToDatetime(tzinfo=UTC) + freshness.lag.ToTimedelta()
    assert freshness.lag.ToTimedelta() >= timedelta(0)
    assert before <= now <= after


async def test_what_was_recorded_before_the_time_of_an_answer_is_in_it(
    suite: AudienceUnderTest,
) -> None:
    await suite.create("a", available(1))
    await suite.enrol("m1")
    await suite.settled()
    recorded: list[datetime] = []

    async def earn() -> None:
        for _ in range(60):
            await suite.earn("m1", 1)
            recorded.append(datetime.now(UTC))

    async def watch() -> int:
        seen = 0
        while not earning.done():
            known = list(recorded)
            checked = await suite.check("a", "m1")
            if checked.freshness.HasField("current_time"):
                reached = checked.freshness.current_time.ToDatetime(tzinfo=UTC)
                assert checked.results[0].value >= sum(time < reached for time in known)
                seen += 1
        return seen

    earning = asyncio.create_task(earn())
    seen = await watch()
    await earning

    assert seen > 10


async def test_the_lag_of_a_sandbox_is_by_the_servers_clock(suite: AudienceUnderTest) -> None:
    created = program_pb2.CreateProgramRequest(program="box", sandbox=True, settings=AUTO_ENROL)
    created.start_time.FromDatetime(datetime(1997, 1, 1, tzinfo=UTC))
    await suite.ledger.programs.CreateProgram(created)
    await suite.earn("m1", 5, "box")
    await suite.create("a", available(1), program="box")
    await suite.settled()

    checked = await suite.check("a", "m1", "box")

    assert checked.belongs
    assert checked.freshness.lag.ToTimedelta() < timedelta(minutes=1)  # Else it were decades.


async def test_a_clock_catches_up_with_everything_recorded(suite: AudienceUnderTest) -> None:
    created = program_pb2.CreateProgramRequest(program="box", sandbox=True, settings=AUTO_ENROL)
    created.start_time.FromDatetime(datetime(1997, 1, 1, tzinfo=UTC))
    await suite.ledger.programs.CreateProgram(created)
    await suite.create("a", available(1), program="box")
    request = clock_pb2.CatchUpRequest(program="box")
    request.time.FromDatetime(datetime(1997, 1, 1, tzinfo=UTC))
    for turn in range(1, 6):
        await suite.earn_many([(f"m{number}", 1) for number in range(400)], "box")
        suite.tiers.move("m0", f"t{turn}", program="box")

        caught = await suite.clock.CatchUp(request)

        assert caught.time == request.time
        stored = await suite.profiles()
        assert len(stored) == 400
        assert {row[1][0] for row in stored.values()} == {turn}
        assert stored["m0"][2] == f"t{turn}"
    due = await suite.clock.GetNextDue(clock_pb2.GetNextDueRequest(program="box"))
    assert not due.HasField("time")


async def test_only_a_sandbox_has_a_clock(suite: AudienceUnderTest) -> None:
    request = clock_pb2.CatchUpRequest(program="p1")
    request.time.FromDatetime(datetime(1997, 1, 1, tzinfo=UTC))

    assert (await refusal(suite.clock.CatchUp(request))).reason == "NOT_SANDBOX"
    due = clock_pb2.GetNextDueRequest(program="p1")
    assert (await refusal(suite.clock.GetNextDue(due))).reason == "NOT_SANDBOX"
    elsewhere = clock_pb2.GetNextDueRequest(program="p2")
    assert (await refusal(suite.clock.GetNextDue(elsewhere))).reason == "PROGRAM_NOT_FOUND"


_BOUNDS = st.none() | st.integers(-5, 12)
_CRITERION = st.builds(
    Range,
    st.sampled_from([field for field in Field if field is not Field.TIER]),
    st.sampled_from(["points", "miles", "never-seen"]),
    _BOUNDS,
    _BOUNDS,
) | st.builds(
    Range, st.just(Field.TIER), tiers=st.sets(st.sampled_from("abc"), min_size=1).map(tuple)
)


async def test_who_belongs_by_rows_belongs_by_rule(suite: AudienceUnderTest) -> None:
    """The statement and the domain agree on every member, whatever the criteria."""
    dice = random.Random(11)

    def some() -> Holding:
        return Holding(*(dice.randrange(10) for _ in range(4)))

    everybody = {}
    for number in range(300):
        holdings = {name: some() for name in ("points", "miles") if dice.random() < 0.7}
        everybody[f"m{number:03}"] = Profile(1, holdings, dice.choice(["", "a", "b", "c"]))
    async with suite.context.pools.lanes.acquire(timeout=5) as connection:
        async with connection.transaction():
            row = await programs.ensure(connection, "acme", "p1", ("points", "miles"))
        keyed = {(row.key, member): profile for member, profile in everybody.items()}
        await profiles.save(connection, keyed, {row.key: row.currencies})
        await profiles.save_tiers(connection, {key: each.tier for key, each in keyed.items()})
    examples: list[tuple[Range, ...]] = []

    @given(st.lists(_CRITERION, min_size=1, max_size=4).map(tuple))
    @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
    def collect(criteria: tuple[Range, ...]) -> None:
        examples.append(criteria)

    collect()
    async with suite.context.pools.reads.acquire(timeout=5) as connection:
        for criteria in examples:
            expected = sorted(
                member for member, profile in everybody.items() if belongs(criteria, profile)
            )
            assert await matching.count(connection, row, criteria) == len(expected), criteria
            assert await matching.page(connection, row, criteria, "", 1000) == expected, criteria
