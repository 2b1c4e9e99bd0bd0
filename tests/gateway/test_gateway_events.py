"""Routes whose body is a field of the request: events."""

import json
from typing import Any

import httpx
import pytest

from chassis.refusals import UnreadableBody
from kernel.refusals import InvalidField
from loyalty.rules.v1 import events_pb2
from services.gateway.http.catalogue import EXPOSED
from services.gateway.http.routes import retried, routes_of
from services.gateway.http.transcode import read_request
from tests.gateway.gateway_kit import FakeSuite

EVENTS = "/v1/programs/p/events"
PURCHASE = {"id": "e1", "type": "purchase", "member": "m1"}
ROUTES = {route.rpc.name: route for route in routes_of(EXPOSED)}


def read(body: Any, key: str | None = None) -> events_pb2.SubmitEventRequest:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    message = read_request(ROUTES["SubmitEvent"], {"program": "p"}, b"", raw, key)
    assert isinstance(message, events_pb2.SubmitEventRequest)
    return message


async def test_the_body_is_the_event(client: httpx.AsyncClient, fakes: FakeSuite) -> None:
    body = {
        **PURCHASE,
        "effectiveTime": "2026-01-31T12:00:00Z",
        "amount": {"amount": "12.50", "currency": "USD"},
        "attributes": {"a": "b"},
    }
    answer = await client.post(EVENTS, json=body)
    sent = fakes["rules"].last

    assert answer.status_code == 200, answer.text
    assert (sent.program, sent.event.id, sent.event.amount.amount) == ("p", "e1", "12.50")
    assert dict(sent.event.attributes) == {"a": "b"}
    assert sent.event.effective_time.seconds == 1769860800


KEYS = {
    "the key where the event has no id": ("till-7", {"type": "visit"}, "till-7"),
    "a quoted key": ('"till-7"', {"type": "visit"}, "till-7"),
    "the key where the id is empty": ("till-7", {"id": ""}, "till-7"),
    "both, equal": ("e1", PURCHASE, "e1"),
    "the id alone": (None, PURCHASE, "e1"),
}


@pytest.mark.parametrize("case", KEYS)
def test_an_events_id_is_its_request_id(case: str) -> None:
    key, body, expected = KEYS[case]

    assert read(body, key).event.id == expected


@pytest.mark.parametrize("key", ["e2", '"e2"', ""])
def test_a_key_that_differs_from_the_id_is_refused(key: str) -> None:
    with pytest.raises(InvalidField) as caught:
        read(PURCHASE, key)

    assert caught.value.violations[0].field in {"event.id", "Idempotency-Key"}


async def test_an_event_without_any_id_is_refused_by_its_field(client: httpx.AsyncClient) -> None:
    answer = await client.post(EVENTS, json={"type": "purchase", "member": "m1"})

    assert (answer.status_code, answer.json()["reason"]) == (400, "INVALID_FIELD")
    assert [each["field"] for each in answer.json()["violations"]] == ["event.id"]


async def test_a_key_that_is_no_id_is_refused_by_its_field(client: httpx.AsyncClient) -> None:
    for key in ("a/b", "x" * 129, "a b"):
        answer = await client.post(
            EVENTS, json={"type": "purchase", "member": "m1"}, headers={"idempotency-key": key}
        )

        assert [each["field"] for each in answer.json()["violations"]] == ["event.id"], key


BAD: dict[str, tuple[bytes, str | None]] = {
    "null": (b"null", "event"),
    "an array": (b"[]", "event"),
    "the request instead of the event": (b'{"event": {}}', "event.event"),
    "the path's field": (b'{"program": "p"}', "event.program"),
    "an unknown field within": (b'{"lines": [{"x": 1}]}', "event.lines[0].x"),
    "a map of numbers": (b'{"attributes": {"a": 1}}', "event.attributes"),
    "no JSON": (b"{", None),
}


@pytest.mark.parametrize("case", BAD)
def test_a_body_that_is_no_event_is_unreadable(case: str) -> None:
    body, field = BAD[case]
    with pytest.raises(UnreadableBody) as caught:
        read(body)

    assert caught.value.metadata.get("field") == field


async def test_nothing_of_an_event_stands_in_the_query(client: httpx.AsyncClient) -> None:
    for query in ("event.id=e1", "id=e1", "program=q"):
        answer = await client.post(f"{EVENTS}?{query}", json=PURCHASE)

        assert (answer.status_code, answer.json()["reason"]) == (400, "INVALID_FIELD")


async def test_a_batch_is_a_whole_request(client: httpx.AsyncClient, fakes: FakeSuite) -> None:
    answer = await client.post(f"{EVENTS}:batch", json={"events": [PURCHASE], "brief": True})

    assert answer.status_code == 200, answer.text
    assert [event.id for event in fakes["rules"].last.events] == ["e1"]
    assert fakes["rules"].last.brief is True


async def test_an_events_id_may_be_anything_visible(
    client: httpx.AsyncClient, fakes: FakeSuite
) -> None:
    for path, expected in (("a%3Ab", "a:b"), ("auth0|1", "auth0|1"), ("x%25y", "x%y")):
        answer = await client.get(f"{EVENTS}/{path}")

        assert answer.status_code == 200
        assert fakes["rules"].last.event == expected


async def test_the_description_says_what_the_body_is(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    operation = document["paths"]["/v1/programs/{program}/events"]["post"]
    body = operation["requestBody"]["content"]["application/json"]["schema"]
    names = [parameter["name"] for parameter in operation["parameters"]]

    # The header may stand for the id.
    assert body["required"] == ["type", "member"]
    assert "program" not in body["properties"]
    assert body["properties"]["lines"]["maxItems"] == 500
    assert body["additionalProperties"] is False
    assert {"program", "Idempotency-Key"} <= set(names)
    assert not {"event", "event.id"} & set(names)


async def test_services_get_what_their_routes_say(
    client: httpx.AsyncClient, fakes: FakeSuite
) -> None:
    cases: tuple[tuple[str, str, Any, str, str], ...] = (
        ("GET", "/v1/programs/p/eventTypes?category=QUEUE", None, "rules", "ListEventTypes"),
        (
            *("POST", "/v1/programs/p/eventTypes:setPoints"),
            *({"eventPoints": [{"type": "purchase", "points": 0}]}, "rules", "SetEventPoints"),
        ),
        ("DELETE", "/v1/programs/p/earningRules/r?etag=x", None, "rules", "DeleteEarningRule"),
        ("GET", "/v1/programs/p/ladders", None, "tiers", "ListLadders"),
        ("GET", "/v1/programs/p/members/m/membership", None, "tiers", "GetMembership"),
        ("POST", "/v1/programs/p/members/m:evaluate", {}, "tiers", "EvaluateMember"),
        ("GET", "/v1/programs/p/members/m/audiences", None, "audience", "ListMemberAudiences"),
        ("GET", "/v1/programs/p/audiences/a/members/m:check", None, "audience", "CheckMembership"),
    )
    for method, path, body, service, name in cases:
        answer = await client.request(method, path, json=body)

        assert answer.status_code == 200, (path, answer.text)
        assert fakes[service].seen[-1][0] == name
    # Zero is not the same as nothing: it awards nothing.
    points: Any = next(one for name, one, _ in fakes["rules"].seen if name == "SetEventPoints")
    assert points.event_points[0].HasField("points")


def test_events_and_evaluations_are_called_again_after_a_lost_answer() -> None:
    twice = {route.rpc.name for route in routes_of(EXPOSED) if retried(route.rpc)}

    assert {
        *("SubmitEvent", "BatchSubmitEvents", "EvaluateMember", "BatchEvaluateMembers"),
        *("CheckMembership", "PreviewAudience", "ListMemberAudiences"),
    } <= twice
    assert not twice & {"SetEventPoints", "UpdateLadder", "CreateAudience", "DeleteEarningRule"}
