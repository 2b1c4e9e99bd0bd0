"""What a member has in all programs of the organization."""

import pytest

from loyalty.ledger.v1 import ledger_pb2
from tests.ledger.points_kit import Points
from tests.ledger.programs_kit import LedgerUnderTest

pytestmark = pytest.mark.shared_ledger


async def accounts_of(
    ledger: LedgerUnderTest, member: str, **fields: object
) -> ledger_pb2.ListMemberAccountsResponse:
    answer: ledger_pb2.ListMemberAccountsResponse = await ledger.points.ListMemberAccounts(
        ledger_pb2.ListMemberAccountsRequest(member=member, **fields)  # type: ignore[arg-type]
    )
    return answer


async def test_one_view_of_a_member_over_programs_that_stay_apart(ledger: LedgerUnderTest) -> None:
    for program, points in (("airline", 300), ("bakery", 20)):
        member = await Points(ledger, program).begin()
        await ledger.points.Earn(
            ledger_pb2.EarnRequest(
                program=program, member=member.member, request_id="e1", points=points
            )
        )
    await Points(ledger, "cinema", "grace").begin()

    answer = await accounts_of(ledger, "ada")
    assert [
        (account.program, account.member, account.balances[0].available)
        for account in answer.accounts
    ] == [("airline", "ada", 300), ("bakery", "ada", 20)]

    first = await accounts_of(ledger, "ada", page_size=1)
    second = await accounts_of(
        ledger,
        "ada",
        page_size=1,
        page_token=first.next_page_token,
    )
    assert [account.program for account in first.accounts] == ["airline"]
    assert [account.program for account in second.accounts] == ["bakery"]
    assert not second.next_page_token


async def test_nobody_has_no_accounts(ledger: LedgerUnderTest) -> None:
    answer = await accounts_of(ledger, "nobody")
    assert not answer.accounts
