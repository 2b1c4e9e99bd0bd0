"""What was logged before its member joined or left a group lands where it belonged then."""

from datetime import datetime, timedelta
from typing import Any

from loyalty.ledger.v1 import ledger_pb2
from tests.ledger.parties_kit import Party, family
from tests.ledger.points_kit import START
from tests.ledger.programs_kit import LedgerUnderTest, refusal


async def post(party: Party, points: int, request_id: str, logged: datetime | None) -> Any:
    request = ledger_pb2.PostRequest(
        program=party.program,
        member=party.member,
        request_id=request_id,
        operations=[ledger_pb2.Operation(earn=ledger_pb2.EarnOperation(points=points))],
    )
    if logged is not None:
        request.logged_time.FromDatetime(logged)
    return await party.ledger.points.Post(request)


async def test_a_posting_lands_in_the_account_that_was_the_members_when_it_was_logged(
    ledger: LedgerUnderTest,
) -> None:
    ada, bob, group = await family(ledger)
    alone, together, apart = [START + timedelta(days=days) for days in (1, 3, 5)]
    await ada.later(days=2)
    await ada.join("family")
    await ada.later(days=2)

    before = await post(ada, 5, "before", alone)
    since = await post(ada, 7, "since", together)

    assert (before.posting.member, before.posting.account_member) == ("ada", "")
    assert await ada.available(own=True) == 5
    assert (since.posting.member, since.posting.account_member) == ("ada", "family")
    assert await group.available() == 107

    await ada.leave("family")
    await ada.later(days=2)
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
