"""Members of another system: enrolled with what they bring, each row once."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from chassis.refusals import error_info
from loyalty.ledger.v1 import account_pb2, ledger_pb2, program_pb2, resources_pb2
from services.ledger.operations.environment import Environment
from services.ledger.store.programs import ProgramCache
from testkit.keys import metadata, token
from testkit.postgres import TestDatabase
from tests.ledger.programs_kit import LedgerUnderTest, at, ledger_under_test, refusal

Entry = resources_pb2.Entry


def row(member: str, *balances: account_pb2.OpeningBalance, **fields: Any) -> Any:
    return account_pb2.MemberImport(member=member, balances=balances, **fields)


def brings(points: int, awarded: Timestamp | None = None, **fields: Any) -> Any:
    return account_pb2.OpeningBalance(points=points, awarded_time=awarded, **fields)


async def send(ledger: LedgerUnderTest, *rows: Any, **fields: Any) -> Any:
    request = account_pb2.ImportMembersRequest(
        program="p1", import_id=fields.pop("import_id", "old"), rows=rows, **fields
    )
    return (await ledger.members.ImportMembers(request)).results


async def account(ledger: LedgerUnderTest, member: str) -> resources_pb2.Account:
    found: resources_pb2.Account = await ledger.points.GetAccount(
        ledger_pb2.GetAccountRequest(program="p1", member=member)
    )
    return found


async def available(ledger: LedgerUnderTest, member: str) -> int:
    return (await account(ledger, member)).balances[0].available


async def sandbox(ledger: LedgerUnderTest, **points: Any) -> None:
    settings = program_pb2.ProgramSettings()
    settings.points.expiry.add(strategy="year", kind="FIXED", months=12)
    settings.points.expiry.add(strategy="idle", kind="INACTIVITY", months=6)
    for name, value in points.items():
        setattr(settings.points, name, value)
    await ledger.create_program("p1", sandbox=True, start_time=at(2026, 3), settings=settings)


def reason(result: Any) -> str:
    info = error_info(result.status)
    return "" if info is None else info.reason


async def verified(ledger: LedgerUnderTest, member: str) -> bool:
    answer = await ledger.points.VerifyAccount(
        ledger_pb2.VerifyAccountRequest(program="p1", member=member)
    )
    assert answer.ok, answer.findings
    return True


async def test_lots_keep_when_they_were_awarded_and_when_they_expire(
    ledger: LedgerUnderTest,
) -> None:
    await sandbox(ledger)

    results = await send(
        ledger,
        row(
            "ada",
            brings(100, at(2025, 6)),
            brings(200, at(2025, 9), expire_time=at(2026, 5)),
            brings(300, at(2026, 1), expiry="idle"),
            identifiers=[account_pb2.Identifier(kind="card", value="4711")],
            enrol_time=at(2019, 2),
            billing_day=28,
        ),
    )

    posting = results[0].posting
    assert [(entry.kind, entry.points) for entry in posting.entries] == [
        (Entry.ENROLLED, 0),
        (Entry.ADJUSTED_IN, 100),
        (Entry.ADJUSTED_IN, 200),
        (Entry.ADJUSTED_IN, 300),
    ]
    assert [entry.effective_time for entry in posting.entries] == [
        at(2019, 2), at(2025, 6), at(2025, 9), at(2026, 1)
    ]  # fmt: skip
    assert {entry.reason for entry in posting.entries[1:]} == {"opening balance"}
    lots = await ledger.points.ListLots(ledger_pb2.ListLotsRequest(program="p1", member="ada"))
    assert [(lot.points, lot.earn_time, lot.expire_time) for lot in lots.lots] == [
        (300, at(2026, 1), at(2026, 7)),
        (200, at(2025, 9), at(2026, 5)),
        (100, at(2025, 6), at(2026, 6)),
    ]
    member = await ledger.members.LookupMember(
        account_pb2.LookupMemberRequest(program="p1", kind="card", value="4711")
    )
    assert (member.member, member.enrol_time, member.billing_day) == ("ada", at(2019, 2), 28)
    assert await verified(ledger, "ada")


async def test_what_has_expired_meanwhile_expires_in_the_same_posting(
    ledger: LedgerUnderTest,
) -> None:
    await sandbox(ledger)

    results = await send(ledger, row("ada", brings(100, at(2024)), brings(50, at(2026))))

    assert [(entry.kind, entry.points) for entry in results[0].posting.entries] == [
        (Entry.ENROLLED, 0),
        (Entry.ADJUSTED_IN, 100),
        (Entry.EXPIRED, -100),
        (Entry.ADJUSTED_IN, 50),
    ]
    assert results[0].posting.entries[2].effective_time == at(2025)
    assert await available(ledger, "ada") == 50
    assert await verified(ledger, "ada")


async def test_a_row_is_taken_once_however_the_import_is_cut(ledger: LedgerUnderTest) -> None:
    await sandbox(ledger)
    rows = [row(f"m{n}", brings(n + 1, at(2026)), number=n + 1) for n in range(9)]

    await send(ledger, *rows[:5])
    again = await send(ledger, *rows[3:])
    once_more = await send(ledger, *rows)

    assert [result.replayed for result in again] == [True, True, *[False] * 4]
    assert all(result.replayed for result in once_more)
    assert [await available(ledger, f"m{n}") for n in range(9)] == list(range(1, 10))
    changed = await send(ledger, row("m0", brings(7, at(2026)), number=1))
    assert reason(changed[0]) == "REQUEST_ID_REUSED"
    given = await send(
        ledger, row("m0", brings(5), request_id="r"), row("m0", brings(5), request_id="r")
    )
    assert [result.replayed for result in given] == [False, True]
    assert await available(ledger, "m0") == 6


async def test_a_member_in_several_rows_is_enrolled_by_the_first(ledger: LedgerUnderTest) -> None:
    await sandbox(ledger)

    results = await send(
        ledger, row("ada", brings(1)), row("ada", brings(2)), row("ada"), row("bob"), row("bob")
    )

    assert [reason(result) for result in results] == ["", "", "MEMBER_EXISTS", "", "MEMBER_EXISTS"]
    assert await available(ledger, "ada") == 3
    assert (await account(ledger, "bob")).sequence == 1


async def test_refused_rows_leave_nothing_and_the_others_alone(ledger: LedgerUnderTest) -> None:
    await sandbox(ledger, maximum_balance=1000)
    card = account_pb2.Identifier(kind="card", value="1")

    results = await send(
        ledger,
        row("a", brings(5, at(2026)), brings(5, at(2027))),
        row("b", brings(600), brings(600)),
        row("c", brings(5, currency="miles")),
        row("d", brings(5, expiry="never")),
        row("e", brings(5), identifiers=[card]),
        row("f", brings(5), identifiers=[card]),
        row("g", brings(10**15)),
        row("h", enrol_time=at(2027)),
    )

    assert [reason(result) for result in results] == [
        "EFFECTIVE_TIME_IN_FUTURE",
        "LIMIT_REACHED",
        "CURRENCY_NOT_FOUND",
        "EXPIRY_STRATEGY_NOT_FOUND",
        "",
        "IDENTIFIER_EXISTS",
        "LIMIT_REACHED",
        "EFFECTIVE_TIME_IN_FUTURE",
    ]
    assert error_info(results[1].status).metadata["operation"] == "1"  # type: ignore[union-attr]  # it is a refusal
    listed = await ledger.members.ListMembers(account_pb2.ListMembersRequest(program="p1"))
    assert [member.member for member in listed.members] == ["e"]
    assert await ledger.rows.fetchval("SELECT count(*) FROM directory") == 1


async def test_as_if_writes_nothing_and_answers_the_same(ledger: LedgerUnderTest) -> None:
    await sandbox(ledger)
    rows = [row("ada", brings(100, at(2024))), row("ada"), row("bob", brings(1))]

    imagined = await send(ledger, *rows, validate_only=True)
    assert await ledger.rows.fetchval("SELECT count(*) FROM account") == 0
    done = await send(ledger, *rows)

    assert [reason(result) for result in imagined] == [reason(result) for result in done]
    assert [
        [(entry.kind, entry.points, entry.after) for entry in result.posting.entries]
        for result in imagined
    ] == [
        [(entry.kind, entry.points, entry.after) for entry in result.posting.entries]
        for result in done
    ]


async def test_shapes_are_refused_before_anything_is_done(ledger: LedgerUnderTest) -> None:
    await sandbox(ledger)
    both = brings(1, expire_time=at(2027), expiry="year")
    too_many = [row(f"m{n}", *[brings(1)] * 100) for n in range(51)]

    refused = [
        await refusal(send(ledger, row("ada", both))),
        await refusal(send(ledger)),
        await refusal(send(ledger, row("ada"), import_id="no/slash")),
        await refusal(send(ledger, *too_many)),
    ]

    assert {each.reason for each in refused} == {"INVALID_FIELD"}
    assert await ledger.rows.fetchval("SELECT count(*) FROM account") == 0


async def test_an_import_in_the_living_program_counts_from_now(ledger: LedgerUnderTest) -> None:
    await ledger.create_program("p1")
    before = datetime.now(UTC)

    results = await send(ledger, row("ada", brings(5)))

    entry = results[0].posting.entries[1]
    assert before <= entry.effective_time.ToDatetime(tzinfo=UTC) <= datetime.now(UTC)
    assert results[0].posting.request_id == "import:old:1"


async def test_members_who_are_made_together_are_never_one_person(
    ledger_database: TestDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever numbers are drawn: the generator says the same always, which chance did once."""

    def unlucky(cache: ProgramCache, buckets: int) -> Environment:
        return Environment(cache, buckets, random_bits=lambda bits: 5)

    monkeypatch.setattr("services.ledger.__main__.Environment", unlucky)
    async with ledger_under_test(ledger_database, buckets=2) as ledger:
        await ledger.create_organization()
        await sandbox(ledger)

        parts = [[row(f"m{n}", brings(n + 1)) for n in range(k, 400, 8)] for k in range(8)]
        results = await asyncio.gather(*(send(ledger, *part) for part in parts))

        assert {reason(result) for part in results for result in part} == {""}
        answer = await ledger.points.BatchGetAccounts(
            ledger_pb2.BatchGetAccountsRequest(program="p1", members=[f"m{n}" for n in range(400)])
        )
        assert [each.balances[0].available for each in answer.accounts] == list(range(1, 401))
        listed = []
        request = account_pb2.ListMembersRequest(program="p1", page_size=7)
        while True:
            page = await ledger.members.ListMembers(request)
            listed += [member.member for member in page.members]
            request.page_token = page.next_page_token
            if not request.page_token:
                break
        assert sorted(listed) == sorted(f"m{n}" for n in range(400))


async def test_who_may_only_keep_members_gives_no_points(ledger: LedgerUnderTest) -> None:
    await sandbox(ledger)
    keeper = metadata(token(scopes={"members:write"}))

    def call(**fields: Any) -> Any:
        request = account_pb2.ImportMembersRequest(program="p1", import_id="old", **fields)
        return ledger.members.ImportMembers(request, metadata=keeper)

    refused = await refusal(call(rows=[row("ada", brings(5))]))
    await call(rows=[row("ada")])
    erasing = account_pb2.EraseMemberRequest(
        program="p1", member="ada", request_id="e", write_off=True, reason="asked for"
    )
    kept = await refusal(ledger.members.EraseMember(erasing, metadata=keeper))
    erasing.write_off = False
    await ledger.members.EraseMember(erasing, metadata=keeper)

    for each in (refused, kept):
        assert (each.reason, each.metadata) == ("SCOPE_MISSING", {"scope": "ledger:write"})
