"""Where members stand: evaluated, asked, and what is told of it."""

from loyalty.ledger.v1 import group_pb2, program_pb2, resources_pb2
from loyalty.ledger.v1.resources_pb2 import CounterWindow
from loyalty.tiers.v1 import tiers_pb2
from tests.tiers.kit import (
    LedgerServer,
    Tiers,
    at,
    criterion,
    metals,
    refusal,
    tier,
)

Cause = tiers_pb2.MembershipChange.Cause


def summary(changes: list[tiers_pb2.MembershipChange]) -> list[tuple[str, str, str]]:
    return [(Cause.Name(each.cause), each.from_tier, each.to_tier) for each in changes]


async def test_a_member_rises_when_it_is_evaluated(
    ledger_server: LedgerServer, quiet: Tiers
) -> None:
    await quiet.create_ladder(metals())
    await ledger_server.enrol("m1", effective_time=at(2026))
    await ledger_server.count("m1", 30_000)

    before = await quiet.membership("m1")
    evaluated = await quiet.evaluate("m1")
    after = await quiet.membership("m1")
    history = await quiet.history("m1")

    assert (before.tier.tier, before.since) == ("bronze", at(2026))
    assert [(each.value, each.missing) for each in before.next.progress] == [(30_000, 0)]
    assert (evaluated.tier.tier, evaluated.tier.earning_rate) == ("silver", "1.5")
    assert list(evaluated.tier.benefits) == ["A lounge"]
    assert after.tier.tier == "silver"
    assert after.since == evaluated.read_time
    assert after.next.tier == "gold"
    assert [(each.value, each.missing) for each in after.next.progress] == [(30_000, 70_000)]
    assert after.next.progress[0].criterion == criterion(100_000)
    assert summary(history) == [("UPGRADED", "bronze", "silver"), ("ENROLLED", "", "bronze")]
    assert [each.value for each in history[0].progress] == [30_000]
    assert history[0].effective_time == evaluated.read_time
    assert history[1].effective_time == at(2026)


async def test_evaluating_again_changes_nothing(ledger_server: LedgerServer, quiet: Tiers) -> None:
    await quiet.create_ladder(metals())
    await ledger_server.count("m1", 100_000)

    first = await quiet.evaluate("m1")
    second = await quiet.evaluate("m1")
    history = await quiet.history("m1")

    assert first.tier.tier == "gold"
    assert not first.HasField("next")
    assert (second.tier, second.since) == (first.tier, first.since)
    assert summary(history) == [("UPGRADED", "bronze", "gold"), ("ENROLLED", "", "bronze")]


async def test_what_was_counted_is_taken_back_and_the_tier_stays(
    ledger_server: LedgerServer, quiet: Tiers
) -> None:
    await quiet.create_ladder(metals())
    await ledger_server.count("m1", 30_000)
    await quiet.evaluate("m1")
    await ledger_server.count("m1", -20_000)

    kept = await quiet.evaluate("m1")

    assert kept.tier.tier == "silver"
    assert [(each.value, each.missing) for each in kept.next.progress] == [(10_000, 90_000)]


async def test_criteria_combine_and_windows_move(ledger_server: LedgerServer, quiet: Tiers) -> None:
    await ledger_server.create_program("box", sandbox=True, start_time=at(2026, 5, 20))
    year = criterion(100, period=CounterWindow.YEAR)
    days = criterion(3, "visits", CounterWindow.ROLLING_DAYS, 7)
    points = criterion(50, "points_earned")
    ladder = tiers_pb2.Ladder(
        tiers=[
            tier("bronze"),
            tier("silver", year, days, match=tiers_pb2.Tier.ANY),
            tier("gold", year, days, points, match=tiers_pb2.Tier.ALL),
        ]
    )
    await quiet.create_ladder(ladder, program="box")
    last_year, recent = at(2025, 12, 30), at(2026, 5, 18)

    async def tier_after(*, member: str, value: int, counter: str, when: object) -> str:
        await ledger_server.count(
            member, value, counter=counter, program="box", effective_time=when
        )
        return (await quiet.evaluate(member, program="box")).tier.tier

    assert await tier_after(member="a", value=100, counter="spend", when=last_year) == "bronze"
    assert await tier_after(member="a", value=2, counter="visits", when=recent) == "bronze"
    assert await tier_after(member="a", value=1, counter="visits", when=last_year) == "bronze"
    assert await tier_after(member="a", value=1, counter="visits", when=recent) == "silver"
    assert await tier_after(member="a", value=100, counter="spend", when=recent) == "silver"
    await ledger_server.earn("a", 50, program="box")

    top = await quiet.evaluate("a", program="box")

    assert top.tier.tier == "gold"
    assert top.since == at(2026, 5, 20)


async def test_many_are_evaluated_in_the_order_asked(
    ledger_server: LedgerServer, quiet: Tiers
) -> None:
    await quiet.create_ladder(metals())
    for number, spend in enumerate((10, 25_000, 100_000)):
        await ledger_server.count(f"m{number}", spend)
    asked = ["m2", "nobody", "m0", "m1", "m2"]

    evaluated = await quiet.stub.BatchEvaluateMembers(
        tiers_pb2.BatchEvaluateMembersRequest(program="p1", members=asked)
    )
    read = await quiet.stub.BatchGetMemberships(
        tiers_pb2.BatchGetMembershipsRequest(program="p1", members=asked)
    )

    standing = [(each.member, each.tier.tier) for each in evaluated.memberships]
    assert standing == [("m2", "gold"), ("m0", "bronze"), ("m1", "silver")]
    assert list(evaluated.missing) == ["nobody"]
    assert [each.since for each in read.memberships] == [
        each.since for each in evaluated.memberships
    ]
    assert [each.next for each in read.memberships] == [each.next for each in evaluated.memberships]
    assert list(read.missing) == ["nobody"]


async def test_brief_leaves_the_next_tier_out(ledger_server: LedgerServer, quiet: Tiers) -> None:
    await quiet.create_ladder(metals())
    await ledger_server.count("old", 30_000)
    await ledger_server.count("new", 30_000)
    await quiet.evaluate("old")
    request = tiers_pb2.BatchGetMembershipsRequest(
        program="p1", members=["new", "nobody", "old"], brief=True
    )

    brief = await quiet.stub.BatchGetMemberships(request)

    assert [(each.member, each.tier.tier) for each in brief.memberships] == [
        ("new", "bronze"),
        ("old", "silver"),
    ]
    assert not any(each.HasField("next") for each in brief.memberships)
    assert list(brief.missing) == ["nobody"]


async def test_a_brief_answer_agrees_with_the_full_one_wherever_the_numbers_are(
    ledger_server: LedgerServer, quiet: Tiers
) -> None:
    changes = program_pb2.ProgramSettings(groups=program_pb2.GroupsSettings(enabled=True))
    await ledger_server.programs.UpdateProgramSettings(
        program_pb2.UpdateProgramSettingsRequest(program="p1", settings=changes)
    )
    await quiet.create_ladder(metals())
    for member, value in (("pooled", 1), ("merged", 1), ("remains", 100_000), ("alone", 30_000)):
        await ledger_server.count(member, value)
        await quiet.evaluate(member)
    await ledger_server.members.CreateGroup(
        group_pb2.CreateGroupRequest(
            program="p1", group="family", request_id="c", kind=resources_pb2.Account.GROUP
        )
    )
    await ledger_server.members.AddGroupMember(
        group_pb2.AddGroupMemberRequest(
            program="p1", group="family", member="pooled", request_id="j"
        )
    )
    await ledger_server.count("pooled", 30_000)
    await quiet.evaluate("pooled")
    await ledger_server.members.MergeMembers(
        group_pb2.MergeMembersRequest(program="p1", member="merged", into="remains", request_id="m")
    )
    members = ["pooled", "merged", "remains", "alone", "family"]

    brief, full = [
        (
            await quiet.stub.BatchGetMemberships(
                tiers_pb2.BatchGetMembershipsRequest(program="p1", members=members, brief=brief)
            )
        ).memberships
        for brief in (True, False)
    ]

    tiers = ["silver", "gold", "gold", "silver", "silver"]
    for answer in (brief, full):
        assert [(each.member, each.tier.tier) for each in answer] == list(
            zip(members, tiers, strict=True)
        )
    assert [each.since for each in brief] == [each.since for each in full]


async def test_members_of_before_the_ladder_stand_on_its_base(
    ledger_server: LedgerServer, quiet: Tiers
) -> None:
    await ledger_server.enrol("m1", effective_time=at(2026))
    await quiet.evaluate("m1")
    await quiet.create_ladder(metals())

    membership = await quiet.membership("m1")
    nothing = await quiet.history("m1")
    await quiet.evaluate("m1")

    assert (membership.ladder, membership.tier.tier) == ("status", "bronze")
    assert membership.since == at(2026)
    assert nothing == []
    assert summary(await quiet.history("m1")) == [("ENROLLED", "", "bronze")]


async def test_programs_have_their_own_ladders(ledger_server: LedgerServer, quiet: Tiers) -> None:
    await ledger_server.create_program("p2")
    await quiet.create_ladder(metals())
    await quiet.create_ladder(
        tiers_pb2.Ladder(tiers=[tier("one"), tier("two", criterion(1))]), program="p2"
    )
    await ledger_server.count("m1", 30_000)
    await ledger_server.count("m1", 1, program="p2")

    first = await quiet.evaluate("m1")
    second = await quiet.evaluate("m1", program="p2")

    assert (first.tier.tier, second.tier.tier) == ("silver", "two")
    assert [each.program for each in await quiet.history("m1", program="p2")] == ["p2", "p2"]


async def test_history_is_paged(ledger_server: LedgerServer, quiet: Tiers) -> None:
    steps = [tier(f"t{number}", criterion(number)) for number in range(1, 8)]
    await quiet.create_ladder(tiers_pb2.Ladder(tiers=[tier("t0"), *steps]))
    for _ in range(7):
        await ledger_server.count("m1", 1)
        await quiet.evaluate("m1")
    whole = await quiet.history("m1")

    for size in (1, 3, 8, 1000):
        pages: list[tiers_pb2.MembershipChange] = []
        token = ""
        while True:
            answer = await quiet.stub.ListMembershipHistory(
                tiers_pb2.ListMembershipHistoryRequest(
                    program="p1", member="m1", page_size=size, page_token=token
                )
            )
            assert len(answer.changes) <= size
            pages += answer.changes
            token = answer.next_page_token
            if not token:
                break

        assert pages == whole
    other = await refusal(
        quiet.stub.ListMembershipHistory(
            tiers_pb2.ListMembershipHistoryRequest(program="p1", member="m2", page_token="AAAA")
        )
    )
    assert [each.to_tier for each in whole] == [f"t{number}" for number in range(7, -1, -1)]
    assert other.reason == "INVALID_PAGE_TOKEN"


async def test_who_is_not_enrolled_is_not_found(ledger_server: LedgerServer, quiet: Tiers) -> None:
    stub = quiet.stub
    for ladder in (None, metals()):
        if ladder is not None:
            await quiet.create_ladder(ladder)
        for call in (
            stub.GetMembership(tiers_pb2.GetMembershipRequest(program="p1", member="no")),
            stub.EvaluateMember(tiers_pb2.EvaluateMemberRequest(program="p1", member="no")),
            stub.ListMembershipHistory(
                tiers_pb2.ListMembershipHistoryRequest(program="p1", member="no")
            ),
        ):
            refused = await refusal(call)

            assert (refused.reason, refused.metadata) == ("MEMBER_NOT_FOUND", {"member": "no"})
