"""Who gets in, as whom, how often; and members' own view."""

import asyncio
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from chassis.identity import Identity, TokenIssuer, TokenVerifier, generate_keys
from chassis.refusals import CredentialInvalid, CredentialMissing
from loyalty.ledger.v1 import ledger_pb2, resources_pb2
from services.gateway.__main__ import Ports, running
from services.gateway.domain.quota import Quota
from services.gateway.http.catalogue import EXPOSED
from services.gateway.http.routes import routes_of
from services.gateway.operations.admit import Credentials
from services.gateway.store.credentials import CredentialsFile, read_credentials
from testkit import keys
from tests.gateway.gateway_kit import ADMIN, EVERYTHING, FakeService, gateway_settings, write_keys

MEMBER = "/v1/programs/p/members/m1"


def other_issuer() -> TokenIssuer:
    return TokenIssuer(generate_keys()[0])


HEADERS = {
    "none": (None, "CREDENTIAL_MISSING"),
    "empty": ("", "CREDENTIAL_MISSING"),
    "another scheme": ("Basic YTpi", "CREDENTIAL_INVALID"),
    "nothing after the scheme": ("Bearer", "CREDENTIAL_INVALID"),
    "an unknown key": ("Bearer unknown", "CREDENTIAL_INVALID"),
    "a hash for a key": ("Bearer " + "0" * 64, "CREDENTIAL_INVALID"),
    "a long key": ("Bearer " + "k" * 5000, "CREDENTIAL_INVALID"),
    "dots": ("Bearer a.b.c", "CREDENTIAL_INVALID"),
    "a token of nobody": ("Bearer eyJhbGciOiJub25lIn0.e30.", "CREDENTIAL_INVALID"),
}


@pytest.mark.parametrize("case", HEADERS)
async def test_a_bad_credential_is_refused_on_every_route(
    ports: Ports, ledger: FakeService, case: str
) -> None:
    header, reason = HEADERS[case]
    headers = {} if header is None else {"authorization": header}
    async with httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{ports.http}", headers=headers, trust_env=False
    ) as client:
        for route in routes_of(EXPOSED):
            path = route.template.text.replace("{", "").replace("}", "")
            answer = await client.request(route.method, path)

            assert (answer.status_code, answer.json()["reason"]) == (401, reason), path
    assert ledger.seen == []


@pytest.mark.parametrize(
    "token",
    [
        lambda: keys.token(now=time.time() - 3600),
        lambda: keys.token(now=time.time() + 3600),
        lambda: other_issuer().issue(Identity("acme", frozenset(EVERYTHING), "x")),
        lambda: keys.token()[:-4] + "AAAA",
    ],
    ids=["expired", "of the future", "of another key", "tampered with"],
)
async def test_a_token_that_does_not_hold_is_refused(client: httpx.AsyncClient, token: Any) -> None:
    answer = await client.get("/v1/programs", headers={"authorization": f"Bearer {token()}"})

    assert (answer.status_code, answer.json()["reason"]) == (401, "CREDENTIAL_INVALID")


async def test_the_services_see_the_identity_of_the_key(
    client: httpx.AsyncClient, ledger: FakeService
) -> None:
    await client.get(f"{MEMBER}/account")
    presented = ledger.seen[-1][2]["authorization"]
    identity, expires = keys.verifier().identify(presented)

    assert identity == Identity("acme", frozenset(EVERYTHING), ADMIN)
    assert 100 < expires - time.time() <= 300


async def test_a_token_goes_on_as_it_is(client: httpx.AsyncClient, ledger: FakeService) -> None:
    token = keys.token(organization="other", scopes=["ledger:read"])
    await client.get(f"{MEMBER}/account", headers={"authorization": f"bearer {token}"})

    assert ledger.seen[-1][2]["authorization"] == f"Bearer {token}"


async def test_a_missing_scope_is_refused_by_the_service(client: httpx.AsyncClient) -> None:
    answer = await client.post(
        f"{MEMBER}:earn",
        json={"points": 1, "requestId": "r"},
        headers={"authorization": "Bearer reader-key"},
    )

    assert (answer.status_code, answer.json()["reason"]) == (403, "SCOPE_MISSING")
    assert answer.json()["metadata"] == {"scope": "ledger:write"}


def member_header(member: str, program: str = "p") -> dict[str, str]:
    return {"authorization": f"Bearer {keys.token(member=member, program=program)}"}


async def test_a_member_sees_itself_and_nothing_else(
    client: httpx.AsyncClient, ledger: FakeService
) -> None:
    ledger.answers["ListEntries"] = lambda request, _: ledger_pb2.ListEntriesResponse(
        entries=[resources_pb2.Entry(points=1)]
    )
    for path, method in (
        ("/v1/me/account", "GetAccount"),
        ("/v1/me/entries?pageSize=5", "ListEntries"),
        ("/v1/me/expirations", "ListExpirations"),
    ):
        answer = await client.get(path, headers=member_header("m1"))

        assert answer.status_code == 200, answer.text
        assert ledger.seen[-1][0] == method
        assert (ledger.last.program, ledger.last.member) == ("p", "m1")


async def test_a_members_profile_is_its_own(client: httpx.AsyncClient, ledger: FakeService) -> None:
    answer = await client.get("/v1/me", headers=member_header("m1"))

    assert answer.status_code == 200
    assert (answer.json()["program"], answer.json()["member"]) == ("p", "m1")
    seen: list[Any] = [request for _, request, _ in ledger.seen]

    assert {(request.program, request.member) for request in seen} == {("p", "m1")}


async def test_a_members_token_reaches_no_other_route(
    client: httpx.AsyncClient, ledger: FakeService
) -> None:
    for route in routes_of(EXPOSED):
        if route.mine:
            continue
        path = route.template.text.replace("{program}", "p").replace("{member}", "m1")
        answer = await client.request(route.method, path, headers=member_header("m1"))

        assert (answer.status_code, answer.json()["reason"]) == (403, "SCOPE_MISSING"), path
    assert ledger.seen == []


@pytest.mark.parametrize("query", ["member=m2", "program=q", "member=m1", "windows.member=x"])
async def test_a_member_cannot_name_another(
    client: httpx.AsyncClient, ledger: FakeService, query: str
) -> None:
    answer = await client.get(f"/v1/me/account?{query}", headers=member_header("m1"))

    assert (answer.status_code, answer.json()["reason"]) == (400, "INVALID_FIELD")
    assert ledger.seen == []


async def test_who_is_no_member_has_no_own_view(
    client: httpx.AsyncClient, ledger: FakeService
) -> None:
    answer = await client.get("/v1/me")

    assert (answer.status_code, answer.json()["metadata"]) == (403, {"scope": "me"})


async def test_issued_tokens_work_and_reach_no_further(
    client: httpx.AsyncClient, ledger: FakeService
) -> None:
    issued = (await client.post("/v1/token", json={"scopes": ["ledger:read"]})).json()
    header = {"authorization": f"Bearer {issued['token']}"}
    read = await client.get(f"{MEMBER}/account", headers=header)
    written = await client.post(
        f"{MEMBER}:earn", json={"points": 1, "requestId": "r"}, headers=header
    )
    wider = await client.post("/v1/token", json={"scopes": ["platform"]}, headers=header)

    assert (read.status_code, written.status_code, wider.status_code) == (200, 403, 403)
    assert wider.json()["metadata"] == {"scope": "platform"}


async def test_a_key_gets_the_whole_lifetime_and_a_token_never_more_than_its_own(
    client: httpx.AsyncClient,
) -> None:
    key = (await client.post("/v1/token", json={"lifetimeSeconds": 3600})).json()
    verified = keys.verifier().identify(f"Bearer {key['token']}")
    short = keys.token(lifetime_seconds=60)
    again = await client.post(
        "/v1/token",
        json={"lifetimeSeconds": 3600},
        headers={"authorization": f"Bearer {short}"},
    )
    bounded = keys.verifier().identify(f"Bearer {again.json()['token']}")

    assert 3500 < verified.expires - time.time() <= 3600
    assert bounded.expires - time.time() <= 60


async def test_a_members_token_is_issued_for_one_member(
    client: httpx.AsyncClient, ledger: FakeService
) -> None:
    issued = await client.post("/v1/token", json={"member": "auth0|7", "program": "p"})
    header = {"authorization": f"Bearer {issued.json()['token']}"}
    mine = await client.get("/v1/me/account", headers=header)
    again = await client.post("/v1/token", json={}, headers=header)

    assert mine.status_code == 200
    assert ledger.last.member == "auth0|7"
    assert again.status_code == 403
    for body in (
        {"member": "m"},
        {"program": "p"},
        {"member": "m", "program": "p", "scopes": ["platform"]},
    ):
        answer = await client.post("/v1/token", json=body)

        assert (answer.status_code, answer.json()["reason"]) == (400, "INVALID_FIELD")


async def test_who_cannot_read_all_that_a_member_sees_issues_no_members_token(
    client: httpx.AsyncClient,
) -> None:
    for missing in ("ledger:read", "tiers:read", "audiences:read"):
        less = keys.token(scopes=sorted(set(EVERYTHING) - {missing}))
        answer = await client.post(
            "/v1/token",
            json={"member": "m1", "program": "p"},
            headers={"authorization": f"Bearer {less}"},
        )

        assert (answer.status_code, answer.json()["reason"]) == (403, "SCOPE_MISSING")
        assert answer.json()["metadata"] == {"scope": missing}


async def test_keys_are_read_again_when_the_file_changes(
    ledger: FakeService, tmp_path: Path
) -> None:
    async with (
        running(gateway_settings(tmp_path, ledger_address=f"127.0.0.1:{ledger.port}")) as ports,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{ports.http}", trust_env=False) as client,
    ):

        async def status(key: str) -> int:
            header = {"authorization": f"Bearer {key}"}
            return (await client.get(f"{MEMBER}/account", headers=header)).status_code

        before = await status(ADMIN), await status("new-key")
        write_keys(tmp_path, {"new-key": ("acme", ["ledger:read"])})
        await asyncio.sleep(1.1)
        after = await status(ADMIN), await status("new-key")
        (tmp_path / "credentials.json").write_text("{")
        await asyncio.sleep(1.1)
        kept = await status("new-key")

    assert (before, after, kept) == ((200, 401), (401, 200), 200)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b'{"x": {}}',
        b'{"%s": []}' % (b"0" * 64),
        b'{"%s": {"organization": "a", "scopes": ["all"], "actor": "x"}}' % (b"0" * 64),
        b'{"%s": {"organization": "", "scopes": [], "actor": "x"}}' % (b"0" * 64),
    ],
)
def test_a_file_that_is_no_credentials_is_an_error(content: bytes) -> None:
    with pytest.raises((TypeError, ValueError)):
        read_credentials(content)


def test_a_minted_token_is_kept_for_half_of_its_life(tmp_path: Path) -> None:
    now = [1000.0]
    write_keys(tmp_path, {"k": ("acme", ["ledger:read"])})
    credentials = Credentials(
        TokenVerifier(keys.key_pair()[1], now=lambda: now[0]),
        keys.issuer(),
        CredentialsFile(tmp_path / "credentials.json", lambda: 0.0),
        lifetime_seconds=300,
        now=lambda: now[0],
    )
    first = credentials.admit("Bearer k")
    now[0] += 149
    second = credentials.admit("bearer  k")
    now[0] += 2
    third = credentials.admit("Bearer k")

    assert second is first
    assert third.authorization != first.authorization
    for header, refusal in ((None, CredentialMissing), ("Bearer kk", CredentialInvalid)):
        with pytest.raises(refusal):
            credentials.admit(header)


def test_a_bucket_empties_and_fills() -> None:
    quota = Quota(rate=2.0, burst=3)
    taken = [quota.take("a", 0.0) for _ in range(4)]

    assert taken == [0, 0, 0, 0.5]
    assert quota.take("b", 0.0) == 0
    assert quota.take("a", 0.5) == 0
    assert quota.take("a", 0.5) == 0.5
    assert [quota.take("a", 100.0) for _ in range(4)] == [0, 0, 0, 0.5]


def test_buckets_are_bounded_and_a_rate_of_nothing_is_no_limit() -> None:
    quota = Quota(rate=1.0, burst=1, size=10)
    for index in range(100):
        quota.take(index, 0.0)

    assert len(quota) == 10
    assert all(Quota(0, 1).take("a", 0.0) == 0 for _ in range(100))


async def test_who_spent_its_rate_is_told_when_to_come_back(
    ledger: FakeService, tmp_path: Path
) -> None:
    settings = gateway_settings(
        tmp_path, ledger_address=f"127.0.0.1:{ledger.port}", quota_rate=0.5, quota_burst=2
    )
    async with (
        running(settings) as ports,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{ports.http}", trust_env=False) as client,
    ):
        admin = {"authorization": f"Bearer {ADMIN}"}
        answers = [await client.get(f"{MEMBER}/account", headers=admin) for _ in range(3)]
        own_token = {"authorization": f"Bearer {keys.token(actor=ADMIN)}"}
        same = await client.get(f"{MEMBER}/account", headers=own_token)
        reader = {"authorization": "Bearer reader-key"}
        other = await client.get(f"{MEMBER}/account", headers=reader)

    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[2].json()["reason"] == "QUOTA_EXCEEDED"
    assert answers[2].headers["retry-after"] == "2"
    assert (same.status_code, other.status_code) == (429, 200)
