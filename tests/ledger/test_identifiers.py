"""What members are found by: kept as hashes, unique in the organization, changed with an etag."""

import asyncio
from typing import Any

import pytest

from loyalty.ledger.v1 import account_pb2
from testkit.keys import metadata, token
from testkit.postgres import TestDatabase
from tests.ledger.programs_kit import LedgerUnderTest, ledger_under_test, refusal

pytestmark = pytest.mark.shared_ledger

PHONE = "+39 06 6982"


def identifier(kind: str = "phone", value: str = PHONE) -> account_pb2.Identifier:
    return account_pb2.Identifier(kind=kind, value=value)


async def enrol(
    ledger: LedgerUnderTest,
    member: str,
    *identifiers: account_pb2.Identifier,
    program: str = "p1",
    **fields: Any,
) -> Any:
    return await ledger.members.EnrolMember(
        account_pb2.EnrolMemberRequest(
            program=program,
            member=member,
            request_id=fields.pop("request_id", "enrol"),
            identifiers=identifiers,
            **fields,
        )
    )


async def lookup(
    ledger: LedgerUnderTest, kind: str = "phone", value: str = PHONE, **fields: Any
) -> account_pb2.Member:
    found: account_pb2.Member = await ledger.members.LookupMember(
        account_pb2.LookupMemberRequest(
            program=fields.pop("program", "p1"), kind=kind, value=value
        ),
        **fields,
    )
    return found


async def update(ledger: LedgerUnderTest, member: str = "ada", **fields: Any) -> Any:
    return await ledger.members.UpdateMember(
        account_pb2.UpdateMemberRequest(program="p1", member=member, **fields)
    )


async def test_a_member_is_found_by_each_identifier_and_by_no_other(
    ledger: LedgerUnderTest,
) -> None:
    await ledger.create_program("p1")
    await enrol(ledger, "ada", identifier(), identifier("card", "4711"), billing_day=31)
    await enrol(ledger, "bob", identifier("card", "4712"))

    found = await lookup(ledger)

    assert found == await lookup(ledger, "card", "4711")
    assert (found.member, found.billing_day) == ("ada", 31)
    assert list(found.identifier_kinds) == ["card", "phone"]
    assert (await lookup(ledger, "card", "4712")).member == "bob"
    for kind, value in (("card", PHONE), ("phone", "4711"), ("phone", PHONE + " ")):
        refused = await refusal(lookup(ledger, kind, value))
        assert refused.reason == "MEMBER_NOT_FOUND"
        assert value not in str(refused)


@pytest.mark.own_ledger
async def test_no_identifier_stands_in_clear_in_any_table(ledger: LedgerUnderTest) -> None:
    await ledger.create_program("p1")
    secret = "secret-4711-0815"
    await enrol(ledger, "ada", identifier("card", secret))
    await update(ledger, add_identifiers=[identifier("badge", secret)])

    tables = [
        row[0]
        for row in await ledger.rows.fetch(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
        )
    ]

    for table in tables:
        count = await ledger.rows.fetchval(
            f"SELECT count(*) FROM {table} t WHERE t::text LIKE '%' || $1 || '%' "
            "OR t::text LIKE '%' || encode(convert_to($1, 'UTF8'), 'hex') || '%'",
            secret,
        )
        assert count == 0, table


async def test_an_identifier_has_one_owner_also_when_two_claim_it_at_once(
    ledger: LedgerUnderTest,
) -> None:
    await ledger.create_program("p1")

    outcomes = await asyncio.gather(
        *(enrol(ledger, f"m{number}", identifier()) for number in range(20)),
        return_exceptions=True,
    )

    enrolled = [each for each in outcomes if not isinstance(each, BaseException)]
    assert len(enrolled) == 1
    owner = await lookup(ledger)
    assert owner.member == enrolled[0].posting.member
    refused = await refusal(enrol(ledger, "late", identifier()))
    assert (refused.reason, refused.metadata) == ("IDENTIFIER_EXISTS", {"kind": "phone"})
    listed = await ledger.members.ListMembers(account_pb2.ListMembersRequest(program="p1"))
    assert list(listed.members) == [owner]


async def test_identifiers_belong_to_the_person_in_all_programs(ledger: LedgerUnderTest) -> None:
    await ledger.create_program("p1")
    await ledger.create_program("p2")
    await enrol(ledger, "ada", identifier())

    assert (await refusal(lookup(ledger, program="p2"))).reason == "MEMBER_NOT_FOUND"
    await enrol(ledger, "ada", identifier(), program="p2")

    assert (await lookup(ledger, program="p2")).member == "ada"
    assert list((await lookup(ledger)).identifier_kinds) == ["phone"]


@pytest.mark.own_ledger
async def test_another_organization_has_its_own_owner_of_the_same_identifier(
    ledger: LedgerUnderTest,
) -> None:
    await ledger.create_organization("rival")
    await ledger.create_program("p1")
    await enrol(ledger, "ada", identifier())
    rival = metadata(token(organization="rival"))

    refused = await refusal(lookup(ledger, metadata=rival))

    assert refused.reason == "PROGRAM_NOT_FOUND"
    rows = await ledger.rows.fetch("SELECT DISTINCT organization, value FROM identifier")
    assert [row[0] for row in rows] == ["acme"]


async def test_an_enrolment_is_replayed_with_its_identifiers_and_refused_with_others(
    ledger: LedgerUnderTest,
) -> None:
    await ledger.create_program("p1")
    first = await enrol(ledger, "ada", identifier(), identifier("card", "1"))

    again = await enrol(ledger, "ada", identifier("card", "1"), identifier())

    assert again.replayed
    assert again.posting == first.posting
    for other in (identifier("phone", "another"), identifier("card", PHONE)):
        refused = await refusal(enrol(ledger, "ada", other))
        assert refused.reason == "REQUEST_ID_REUSED"
    assert (await refusal(enrol(ledger, "ada", identifier(), billing_day=3))).reason == (
        "REQUEST_ID_REUSED"
    )


@pytest.mark.own_ledger
async def test_a_refused_enrolment_claims_nothing(ledger: LedgerUnderTest) -> None:
    await ledger.create_program("p1")
    await enrol(ledger, "ada")

    refused = await refusal(enrol(ledger, "ada", identifier(), request_id="another"))

    assert refused.reason == "MEMBER_EXISTS"
    assert await ledger.rows.fetchval("SELECT count(*) FROM identifier") == 0
    answer = await enrol(ledger, "bob", identifier(), validate_only=True)
    assert answer.posting.member == "bob"
    assert await ledger.rows.fetchval("SELECT count(*) FROM identifier") == 0
    await enrol(ledger, "bob", identifier())


async def test_an_update_adds_removes_and_sets_and_its_etag_counts(
    ledger: LedgerUnderTest,
) -> None:
    await ledger.create_program("p1")
    await enrol(ledger, "ada", identifier())
    before = await lookup(ledger)

    changed = await update(
        ledger,
        etag=before.etag,
        changes=account_pb2.MemberChanges(billing_day=15),
        add_identifiers=[identifier("card", "1"), identifier("card", "2")],
        remove_identifiers=[identifier(), identifier("card", "9")],
    )

    assert list(changed.identifier_kinds) == ["card", "card"]
    assert changed.billing_day == 15
    assert changed == await lookup(ledger, "card", "2")
    assert changed.etag != before.etag
    assert (await refusal(lookup(ledger))).reason == "MEMBER_NOT_FOUND"
    stale = await refusal(update(ledger, etag=before.etag))
    assert (stale.reason, stale.metadata["etag"]) == ("ETAG_STALE", changed.etag)
    kept = await update(ledger, add_identifiers=[identifier("card", "1")])
    assert kept == changed
    cleared = await update(ledger, update_mask={"paths": ["billing_day"]})
    assert cleared.billing_day == 0


async def test_an_update_is_all_or_nothing_and_validated_only_writes_nothing(
    ledger: LedgerUnderTest,
) -> None:
    await ledger.create_program("p1")
    await enrol(ledger, "ada", identifier())
    await enrol(ledger, "bob", identifier("card", "7"))
    before = await lookup(ledger)

    imagined = await update(ledger, add_identifiers=[identifier("card", "8")], validate_only=True)
    taken = await refusal(
        update(ledger, add_identifiers=[identifier("card", "8"), identifier("card", "7")])
    )
    many = [identifier("card", f"c{number}") for number in range(20)]
    full = await refusal(update(ledger, add_identifiers=many))
    unknown = await refusal(update(ledger, update_mask={"paths": ["state"]}))
    nobody = await refusal(update(ledger, "nobody"))

    assert list(imagined.identifier_kinds) == ["card", "phone"]
    assert taken.reason == "IDENTIFIER_EXISTS"
    assert (full.reason, full.metadata) == (
        "LIMIT_REACHED",
        {"limit_name": "identifiers", "limit": "20", "count": "21"},
    )
    assert (unknown.reason, unknown.fields) == ("INVALID_FIELD", ("update_mask",))
    assert nobody.reason == "MEMBER_NOT_FOUND"
    assert await lookup(ledger) == before


@pytest.mark.parametrize("kind", ["", "Card", "1card", "card-number", "x" * 33])
async def test_kinds_are_names(ledger: LedgerUnderTest, kind: str) -> None:
    await ledger.create_program("p1")

    refused = await refusal(enrol(ledger, "ada", identifier(kind)))

    assert (refused.reason, refused.fields) == ("INVALID_FIELD", ("identifiers[0].kind",))


async def test_no_identifier_is_logged_or_said_in_an_error(
    ledger_database: TestDatabase, capfd: pytest.CaptureFixture[str]
) -> None:
    secret = "secret-4711-0815"
    async with ledger_under_test(ledger_database, access_log_sample=1.0) as ledger:
        await ledger.create_organization()
        await ledger.create_program("p1")
        await enrol(ledger, "ada", identifier("card", secret))
        refused = [
            await refusal(enrol(ledger, "bob", identifier("card", secret))),
            await refusal(enrol(ledger, "bob", identifier("Card", secret))),
            await refusal(enrol(ledger, "bob", identifier("card", secret * 20))),
            await refusal(lookup(ledger, "phone", secret)),
            await refusal(lookup(ledger, "card", secret * 20)),
            await refusal(update(ledger, "bob", add_identifiers=[identifier("card", secret)])),
        ]

    written = capfd.readouterr()
    assert "LookupMember" in written.out + written.err
    assert secret not in written.out + written.err
    assert not [each for each in refused if secret in str(each)]
