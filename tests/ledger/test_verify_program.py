"""Verifying a whole program: shard by shard, from anywhere, for whoever owns it."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from loyalty.ledger.v1 import ledger_pb2, proof_pb2
from loyalty.ledger.v1.proof_pb2_grpc import ProofServiceStub
from testkit.postgres import TestDatabase
from testkit.servers import authorized_channel, token
from tests.ledger.programs_kit import LedgerUnderTest, ledger_under_test, refusal

MEMBERS = 24
# Enrolled and earned twice.
ENTRIES = MEMBERS * 3


@pytest.fixture
async def ledger(
    ledger_database: TestDatabase, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[LedgerUnderTest]:
    """A ledger with a program of many members, of which it verifies few at a time."""
    monkeypatch.setattr("services.ledger.operations.verify_program.ACCOUNTS_MAX", 4)
    monkeypatch.setattr("services.ledger.operations.verify_program.ENTRIES_MAX", 8)
    async with ledger_under_test(ledger_database) as served:
        await served.create_organization()
        for program in ("p1", "other"):
            await served.create_program(program, settings={"program": {"auto_enrol": True}})
        for number in range(MEMBERS):
            await earn(served, f"m{number}", "r1")
            await earn(served, f"m{number}", "r2")
        await earn(served, "m1", "r1", program="other")
        yield served


async def earn(ledger: LedgerUnderTest, member: str, request_id: str, program: str = "p1") -> None:
    await ledger.points.Earn(
        ledger_pb2.EarnRequest(program=program, member=member, points=5, request_id=request_id)
    )


async def parts(ledger: LedgerUnderTest, **fields: Any) -> list[proof_pb2.VerifyProgramResponse]:
    request = proof_pb2.VerifyProgramRequest(**{"program": "p1", **fields})
    return [part async for part in ledger.proof.VerifyProgram(request)]


def counted(answer: list[proof_pb2.VerifyProgramResponse]) -> tuple[int, int]:
    return sum(part.accounts for part in answer), sum(part.entries for part in answer)


async def test_every_account_of_the_program_is_verified_once(ledger: LedgerUnderTest) -> None:
    answer = await parts(ledger)

    assert counted(answer) == (MEMBERS, ENTRIES)
    assert [part.total for part in answer if part.total] == [MEMBERS]
    assert answer[0].total == MEMBERS
    assert all(part.accounts <= 4 for part in answer)
    assert not any(part.disagreeing for part in answer)


@pytest.mark.parametrize("shards", [2, 3, 8, 100])
async def test_shards_share_the_accounts(ledger: LedgerUnderTest, shards: int) -> None:
    answers = [await parts(ledger, shards=shards, shard=shard) for shard in range(shards)]

    assert sum(counted(answer)[0] for answer in answers) == MEMBERS
    assert sum(answer[0].total for answer in answers) == MEMBERS


async def test_a_shard_that_does_not_exist_has_no_accounts(ledger: LedgerUnderTest) -> None:
    assert counted(await parts(ledger, shards=2, shard=2)) == (0, 0)


async def test_it_goes_on_from_any_position(ledger: LedgerUnderTest) -> None:
    whole = await parts(ledger)
    done = 0
    for part in whole:
        done += part.accounts
        rest = await parts(ledger, after_bucket=part.bucket, after_account=part.account)

        assert counted(rest)[0] == rest[0].total == MEMBERS - done


async def test_what_disagrees_is_named_with_its_member(ledger: LedgerUnderTest) -> None:
    spoilt = await ledger.rows.fetch(
        """
        UPDATE balance b SET available = available + 1, earned = earned + 1
        FROM account a JOIN directory d ON d.bucket = a.bucket AND d.person = a.person
        WHERE a.bucket = b.bucket AND a.id = b.account AND d.member IN ('m3', 'm7')
            AND a.program = (SELECT key FROM program WHERE id = 'p1')
        RETURNING d.member, b.bucket, b.account
        """
    )
    found = [each for part in await parts(ledger) for each in part.disagreeing]

    assert sorted((one.member, one.bucket, one.account) for one in found) == sorted(
        tuple(row) for row in spoilt
    )
    for one in found:
        assert [(each.row, each.field) for each in one.findings] == [
            ("balance 0", "available"),
            ("balance 0", "earned"),
        ]


async def test_accounts_that_are_gone_are_named_by_their_postings(
    ledger: LedgerUnderTest,
) -> None:
    gone = await ledger.rows.fetchrow(
        "DELETE FROM account WHERE id = (SELECT min(id) FROM account) RETURNING bucket, id"
    )
    assert gone is not None
    answer = await parts(ledger)
    (one,) = (each for part in answer for each in part.disagreeing)

    assert counted(answer)[0] == MEMBERS - 1
    assert (one.member, one.bucket, one.account) == ("", *gone)
    assert one.findings[0].row == "account"
    assert one.findings[0].expected.startswith("an account of posting ")


async def test_nothing_is_settled_and_nothing_is_written(ledger: LedgerUnderTest) -> None:
    before = await ledger.rows.fetch("SELECT bucket, sequence FROM head ORDER BY bucket")
    await parts(ledger)

    assert await ledger.rows.fetch("SELECT bucket, sequence FROM head ORDER BY bucket") == before


async def test_a_program_that_is_not_there_is_refused(ledger: LedgerUnderTest) -> None:
    assert (await refusal(parts(ledger, program="nowhere"))).reason == "PROGRAM_NOT_FOUND"


async def test_nobody_verifies_the_program_of_another_organization(
    ledger: LedgerUnderTest,
) -> None:
    async with authorized_channel(ledger.port, token("globex")) as channel:
        stub: Any = ProofServiceStub(channel)
        request = proof_pb2.VerifyProgramRequest(program="p1")

        async def read() -> None:
            async for _ in stub.VerifyProgram(request):
                pass

        assert (await refusal(read())).reason == "PROGRAM_NOT_FOUND"


@pytest.mark.parametrize("method", ["CreateCheckpoint", "GetCheckpoint", "ListCheckpoints"])
async def test_checkpoints_are_the_platforms(ledger: LedgerUnderTest, method: str) -> None:
    signed = token(scopes=["ledger:read", "ledger:write", "programs:write"])
    async with authorized_channel(ledger.port, signed) as channel:
        call = getattr(ProofServiceStub(channel), method)
        refused = await refusal(call(getattr(proof_pb2, f"{method}Request")()))

    assert (refused.reason, refused.metadata) == ("SCOPE_MISSING", {"scope": "platform"})
