"""What was logged before its member joined or left a group lands where it belonged then."""

from datetime import UTC, datetime
from typing import Any

from loyalty.ledger.v1 import account_pb2, ledger_pb2, program_pb2
from tests.ledger.parties_kit import ON, Party
from tests.ledger.programs_kit import LedgerUnderTest, refusal


def posting(
    party: Party, points: int, request_id: str, logged: datetime | None
) -> ledger_pb2.PostRequest:
    request = ledger_pb2.PostRequest(
        program=party.program,
        member=party.member,
        request_id=request_id,
        operations=[ledger_pb2.Operation(earn=ledger_pb2.EarnOperation(points=points))],
    )
    if logged is not None:
        request.logged_time.FromDatetime(logged)
    return request


async def post(party: Party, points: int, request_id: str, logged: datetime | None) -> Any:
    return await party.ledger.points.Post(posting(party, points, request_id, logged))


async def test_a_posting_lands_in_the_account_that_was_the_members_when_it_was_logged(
    ledger: LedgerUnderTest,
) -> None:
    # On the server's clock: a sandbox's says nothing of when something was logged.
    await ledger.create_program("p", settings=program_pb2.ProgramSettings(**ON))
    ada, bob, group = Party(ledger), Party(ledger, member="bob"), Party(ledger, member="family")
    await ada.earn(100)
    await bob.earn(10)
    await ada.group("family")
    alone = datetime.now(UTC)
    await ada.join("family")
    together = datetime.now(UTC)

    before = await post(ada, 5, "before", alone)
    since = await post(ada, 7, "since", together)

    assert (before.posting.member, before.posting.account_member) == ("ada", "")
    assert await ada.available(own=True) == 5
    assert (since.posting.member, since.posting.account_member) == ("ada", "family")
    assert await group.available() == 107

    await ada.leave("family")
    apart = datetime.now(UTC)
    late = await post(ada, 11, "late", together)
    own = await post(ada, 13, "own", apart)
    never = await post(ada, 17, "never", None)

    assert (late.posting.member, late.posting.account_member) == ("ada", "family")
    assert late.posting.entries[0].attributed_member == "ada"
    assert late.account.member == "family"
    assert [own.posting.account_member, never.posting.account_member] == ["", ""]
    assert (await ada.available(), await group.available()) == (35, 118)

    # A request is the same whenever its caller says that it was logged.
    for points, request_id in ((5, "before"), (7, "since"), (11, "late"), (13, "own")):
        for logged in (None, alone, together, apart):
            assert (await post(ada, points, request_id, logged)).replayed
        refused = await refusal(post(ada, points + 1, request_id, together))
        assert refused.reason == "REQUEST_ID_REUSED"
    assert (await ada.available(), await group.available()) == (35, 118)

    # Who is merged is the one that it was merged into, at any time.
    await bob.merge("ada")
    merged = await post(bob, 19, "merged", together)
    assert (merged.posting.member, merged.posting.account_member) == ("bob", "family")
    assert (await post(bob, 23, "alone", alone)).posting.account_member == "ada"
    assert (await ada.available(), await group.available()) == (68, 137)
    await ada.verified("ada", "bob", "family")


async def test_what_was_logged_of_somebody_who_was_erased_is_nobodys(
    ledger: LedgerUnderTest,
) -> None:
    await ledger.create_program("p", settings=program_pb2.ProgramSettings(**ON))
    ada, bob = Party(ledger), Party(ledger, member="bob")
    await ada.earn(100)
    before = datetime.now(UTC)
    await ledger.members.EraseMember(
        account_pb2.EraseMemberRequest(program="p", member="ada", request_id="erase")
    )

    # It enrols nobody, though the program enrols whoever is given something.
    assert (await refusal(post(ada, 5, "late", before))).reason == "MEMBER_NOT_FOUND"
    assert (await refusal(ada.read())).reason == "MEMBER_NOT_FOUND"
    assert (await post(ada, 7, "new", datetime.now(UTC))).account.version == 1
    # And nothing of it is the one's who has the id by now.
    batch = await ledger.points.BatchPost(
        ledger_pb2.BatchPostRequest(
            program="p",
            requests=[
                posting(bob, 1, "first", before),
                posting(ada, 5, "late", before),
                posting(ada, 9, "newer", None),
                posting(bob, 2, "second", None),
            ],
        )
    )

    assert [each.WhichOneof("result") for each in batch.results] == [
        "posting", "status", "posting", "posting",
    ]  # fmt: skip
    assert [each.posting.request_id for each in batch.results] == ["first", "", "newer", "second"]
    assert (await ada.available(), await bob.available()) == (16, 3)
