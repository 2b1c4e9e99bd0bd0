"""The profile, on both doors, with parts missing; services that are down."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2, health_pb2_grpc  # type: ignore[import-untyped]
from grpc_reflection.v1alpha import (  # type: ignore[import-untyped]
    reflection_pb2,
    reflection_pb2_grpc,
)

from chassis.refusals import error_info, status_of_error
from kernel.refusals import MemberNotFound, ProgramNotFound, Refusal
from loyalty.audience.v1 import audience_pb2
from loyalty.gateway.v1 import credential_pb2, credential_pb2_grpc, profile_pb2, profile_pb2_grpc
from loyalty.ledger.v1 import ledger_pb2, resources_pb2
from loyalty.tiers.v1 import tiers_pb2
from services.gateway.__main__ import Ports, running
from testkit import keys
from testkit.servers import authorized_channel, metadata
from tests.gateway.gateway_kit import ADMIN, READER, FakeService, FakeSuite, gateway_settings

PROFILE = "/v1/programs/p/members/m1"
Request = profile_pb2.GetProfileRequest


@pytest.fixture
async def stub(ports: Ports, ledger: FakeService) -> AsyncIterator[Any]:
    async with authorized_channel(ports.grpc) as channel:
        yield profile_pb2_grpc.ProfileServiceStub(channel)


async def test_a_profile_has_its_parts(client: httpx.AsyncClient, fakes: FakeSuite) -> None:
    fakes["ledger"].answers["GetAccount"] = lambda request, _: resources_pb2.Account(
        balances=[resources_pb2.Balance(currency="points", available=7)]
    )
    fakes["ledger"].answers["ListExpirations"] = lambda request, _: (
        ledger_pb2.ListExpirationsResponse(expirations=[resources_pb2.Expiration(points=3)])
    )
    fakes["tiers"].answers["GetMembership"] = lambda request, _: tiers_pb2.Membership(
        member=request.member,
        tier=tiers_pb2.Tier(tier="silver"),
        next=tiers_pb2.NextTier(tier="gold", progress=[tiers_pb2.Progress(value=2, missing=8)]),
    )
    fakes["audience"].answers["ListMemberAudiences"] = lambda request, _: (
        audience_pb2.ListMemberAudiencesResponse(
            audiences=[audience_pb2.Audience(audience="rich", display_name="The rich", group="g")],
            freshness=audience_pb2.Freshness(lag=Duration(nanos=20_000_000)),
        )
    )
    body = (await client.get(PROFILE)).json()

    assert body["account"]["balances"][0]["available"] == "7"
    assert body["expirations"][0]["points"] == "3"
    assert body["membership"]["tier"]["tier"] == "silver"
    assert body["membership"]["next"]["progress"][0]["missing"] == "8"
    assert body["audiences"] == [{"audience": "rich", "displayName": "The rich"}]
    assert body["audiencesFreshness"]["lag"] == "0.020s"
    assert body["unavailable"] == []
    assert body["readTime"].startswith("20")


async def test_the_parts_are_gathered_at_once(client: httpx.AsyncClient, fakes: FakeSuite) -> None:
    arrived: list[str] = []
    everybody = asyncio.Event()

    def waiting(answer: type[Message]) -> Callable[[Any, Any], Awaitable[Message]]:
        async def wait(_request: Any, _context: Any) -> Message:
            arrived.append(answer.__name__)
            if len(arrived) == len(PARTS):
                everybody.set()
            await asyncio.wait_for(everybody.wait(), 5)
            return answer()

        return wait

    for service, method, answer in PARTS.values():
        fakes[service].answers[method] = waiting(answer)
    response = await client.get(PROFILE)

    assert response.status_code == 200
    assert response.json()["unavailable"] == []


PARTS: dict[str, tuple[str, str, type[Message]]] = {
    "ACCOUNT": ("ledger", "GetAccount", resources_pb2.Account),
    "EXPIRATIONS": ("ledger", "ListExpirations", ledger_pb2.ListExpirationsResponse),
    "MEMBERSHIP": ("tiers", "GetMembership", tiers_pb2.Membership),
    "AUDIENCES": ("audience", "ListMemberAudiences", audience_pb2.ListMemberAudiencesResponse),
}


def _break(request: Any, _: Any) -> Any:
    raise RuntimeError("broken")


def _unknown(request: Any, _: Any) -> Any:
    raise MemberNotFound(request.member)


# Far longer than a part is waited for.
HANGS_S = 20.0


async def _hang(request: Any, _: Any) -> Any:
    await asyncio.sleep(HANGS_S)
    return resources_pb2.Account()


MISSING = {
    **{f"a broken {part}": ({part: _break}, [part]) for part in PARTS},
    **{f"a slow {part}": ({part: _hang}, [part]) for part in PARTS},
    "a member that other services do not know yet": (
        {"MEMBERSHIP": _unknown, "AUDIENCES": _unknown},
        ["MEMBERSHIP", "AUDIENCES"],
    ),
    "everything": (dict.fromkeys(PARTS, _break), list(PARTS)),
}


@pytest.mark.parametrize("case", MISSING)
async def test_a_part_that_cannot_be_had_is_named(
    client: httpx.AsyncClient, fakes: FakeSuite, case: str
) -> None:
    answers, unavailable = MISSING[case]
    for part, given in answers.items():
        service, method, _ = PARTS[part]
        fakes[service].answers[method] = given
    began = time.monotonic()
    answer = await client.get(PROFILE)
    body = answer.json()

    assert answer.status_code == 200, answer.text
    assert body["unavailable"] == unavailable
    assert ("account" in body) == ("ACCOUNT" not in unavailable)
    assert ("membership" in body) == ("MEMBERSHIP" not in unavailable)
    assert ("audiencesFreshness" in body) == ("AUDIENCES" not in unavailable)
    assert time.monotonic() - began < HANGS_S / 2


async def test_a_credential_sees_the_parts_that_it_reaches(client: httpx.AsyncClient) -> None:
    answer = await client.get(PROFILE, headers={"authorization": f"Bearer {READER}"})

    assert answer.json()["unavailable"] == ["MEMBERSHIP", "AUDIENCES"]


async def test_a_member_sees_all_parts_of_its_own(client: httpx.AsyncClient) -> None:
    own = {"authorization": f"Bearer {keys.token(member='m1', program='p')}"}
    profile = await client.get("/v1/me", headers=own)
    membership = await client.get("/v1/me/membership", headers=own)
    audiences = await client.get("/v1/me/audiences", headers=own)

    assert profile.json()["unavailable"] == []
    assert (membership.status_code, audiences.status_code) == (200, 200)


@pytest.mark.parametrize(
    "refusal,reason",
    [(MemberNotFound("m1"), "MEMBER_NOT_FOUND"), (ProgramNotFound("p"), "PROGRAM_NOT_FOUND")],
)
async def test_who_is_not_found_has_no_profile(
    client: httpx.AsyncClient, ledger: FakeService, stub: Any, refusal: Refusal, reason: str
) -> None:
    def refuse(request: Any, _: Any) -> Any:
        raise refusal

    ledger.answers |= {"GetAccount": refuse, "ListExpirations": _break}
    answer = await client.get(PROFILE)

    assert (answer.status_code, answer.json()["reason"]) == (404, reason)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.GetProfile(Request(program="p", member="m1"))
    info = error_info(status_of_error(caught.value, ""))
    assert info is not None
    assert info.reason == reason


async def test_the_grpc_door_takes_tokens_and_api_keys(
    stub: Any, ledger: FakeService, ports: Ports
) -> None:
    by_token = await stub.GetProfile(Request(program="p", member="m1"))
    token = ledger.seen[-1][2]["authorization"]
    by_key = await stub.GetProfile(Request(program="p", member="m1"), metadata=metadata(ADMIN))
    minted = ledger.seen[-1][2]["authorization"]

    assert (by_token.member, by_key.member) == ("m1", "m1")
    assert token == f"Bearer {keys.token()}" or token.startswith("Bearer ey")
    assert keys.verifier().identify(minted).identity.actor == ADMIN


async def test_a_member_has_its_own_profile_on_the_grpc_door_only(stub: Any) -> None:
    own = metadata(keys.token(member="m1", program="p"))
    profile = await stub.GetProfile(Request(program="p", member="m1"), metadata=own)

    assert profile.member == "m1"
    for other in (Request(program="p", member="m2"), Request(program="q", member="m1")):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.GetProfile(other, metadata=own)
        assert caught.value.code() == grpc.StatusCode.PERMISSION_DENIED


async def test_a_stranger_gets_nothing_on_the_grpc_door(ports: Ports) -> None:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{ports.grpc}") as channel:
        profiles = profile_pb2_grpc.ProfileServiceStub(channel)
        tokens = credential_pb2_grpc.CredentialServiceStub(channel)
        for call in (
            profiles.GetProfile(Request(program="p", member="m")),
            profiles.GetProfile(Request(program="p", member="m"), metadata=metadata("unknown")),
            tokens.IssueToken(credential_pb2.IssueTokenRequest()),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call
            assert caught.value.code() == grpc.StatusCode.UNAUTHENTICATED


async def test_the_grpc_door_answers_for_its_health_and_describes_itself(ports: Ports) -> None:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{ports.grpc}") as channel:
        health = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
        listing = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(
            iter([reflection_pb2.ServerReflectionRequest(list_services="")]),
            metadata=metadata(),
        )
        services = {
            service.name
            async for answer in listing
            for service in answer.list_services_response.service
        }

    assert health.status == health_pb2.HealthCheckResponse.SERVING
    assert {"loyalty.gateway.v1.ProfileService", "loyalty.gateway.v1.CredentialService"} <= services


# What each service is asked in the test below, and which parts of a profile come from it.
ASKED = {
    "ledger": (f"{PROFILE}/account", ["ACCOUNT", "EXPIRATIONS"]),
    "rules": ("/v1/programs/p/eventTypes", []),
    "tiers": (f"{PROFILE}/membership", ["MEMBERSHIP"]),
    "audience": (f"{PROFILE}/audiences", ["AUDIENCES"]),
}


@pytest.mark.parametrize("name", ASKED)
async def test_a_service_that_is_down_is_said_clearly_and_found_again(
    tmp_path: Path, name: str
) -> None:
    fakes = FakeSuite()
    await fakes.start()
    async with (
        running(gateway_settings(tmp_path, **fakes.addresses)) as ports,
        httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{ports.http}",
            headers={"authorization": f"Bearer {ADMIN}"},
            trust_env=False,
        ) as client,
    ):
        ready = await client.get("/readyz")
        await fakes[name].stop()
        down = {other: await client.get(path) for other, (path, _) in ASKED.items()}
        profile = await client.get(PROFILE)
        await asyncio.sleep(1.1)
        unready = await client.get("/readyz")
        live = await client.get("/healthz")
        await fakes[name].start(fakes[name].port)
        again = None
        for _ in range(300):
            again = await client.get(ASKED[name][0])
            if again.status_code == 200:
                break
            await asyncio.sleep(0.1)
    await fakes.stop()
    refused = down.pop(name)

    assert ready.status_code == 200
    assert (refused.status_code, refused.json()["reason"]) == (503, "DEPENDENCY_UNAVAILABLE")
    assert refused.json()["metadata"] == {"dependency": name}
    assert refused.headers["retry-after"]
    assert {answer.status_code for answer in down.values()} == {200}
    assert profile.json()["unavailable"] == ASKED[name][1]
    assert (unready.status_code, live.status_code) == (503, 200)
    assert unready.json()["metadata"] == {"dependency": name}
    assert again is not None
    assert again.status_code == 200


async def test_a_ledger_that_restarts_is_called_again_where_that_does_no_harm(
    client: httpx.AsyncClient, ledger: FakeService
) -> None:
    from chassis.refusals import DependencyUnavailable

    calls: list[str] = []

    def fail_twice(request: Any, _: Any) -> Any:
        calls.append("call")
        if len(calls) < 3:
            raise DependencyUnavailable("database")
        return ledger_pb2.EarnResponse(replayed=True)

    ledger.answers["Earn"] = fail_twice
    answer = await client.post(f"{PROFILE}:earn", json={"points": 1, "requestId": "r"})

    assert (answer.status_code, len(calls)) == (200, 3)


async def test_an_update_is_called_once_only(
    client: httpx.AsyncClient, ledger: FakeService
) -> None:
    from chassis.refusals import DependencyUnavailable

    calls: list[str] = []

    def fail(request: Any, _: Any) -> Any:
        calls.append("call")
        raise DependencyUnavailable("database")

    ledger.answers["UpdateProgramSettings"] = fail
    answer = await client.patch("/v1/programs/p/settings", json={"settings": {}})

    assert (answer.status_code, len(calls)) == (503, 1)
    assert answer.json()["metadata"] == {"dependency": "database"}


async def test_more_calls_than_are_taken_on_are_refused(
    tmp_path: Path, ledger: FakeService
) -> None:
    release = asyncio.Event()

    async def wait(request: Any, _: Any) -> Any:
        await release.wait()
        return resources_pb2.Account()

    ledger.answers["GetAccount"] = wait
    settings = gateway_settings(
        tmp_path, ledger_address=f"127.0.0.1:{ledger.port}", max_in_flight=4
    )
    async with (
        running(settings) as ports,
        httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{ports.http}",
            headers={"authorization": f"Bearer {ADMIN}"},
            trust_env=False,
        ) as client,
    ):
        statuses: list[int] = []

        async def call() -> None:
            statuses.append((await client.get(f"{PROFILE}/account")).status_code)
            if len(statuses) == 6:
                release.set()

        await asyncio.wait_for(asyncio.gather(*(call() for _ in range(10))), 20)

    assert statuses == [429] * 6 + [200] * 4
