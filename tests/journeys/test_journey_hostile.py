"""Random input on every route, through to the real ledger: never a 5xx."""

from typing import Any

import httpx
import pytest

from tests.gateway.hostile_kit import ROUTES, WRONG, ask, ask_at_random

SEEDS = ("1", "2")


@pytest.fixture
async def prepared(http: httpx.AsyncClient) -> Any:
    """What the requests name; an earlier request may have changed or deleted it."""
    program = {"program": "p", "settings": {"program": {"autoEnrol": True}}}
    window = {"counter": "visits", "period": "LIFETIME"}
    tiers = [{"tier": "t1"}, {"tier": "t2", "criteria": [{"window": window, "threshold": 9}]}]
    criterion = {"field": "AVAILABLE", "minimum": 1}
    for path, body in (
        ("", program),
        ("/p/members/m1:earn", {"points": 1000, "requestId": "opening"}),
        ("/p/counters", {"counterId": "visits"}),
        ("/p/earningRules", {"rule": "r1", "earningRule": {"points": "1"}}),
        ("/p/ladders", {"ladderId": "l1", "ladder": {"tiers": tiers}}),
        ("/p/audiences", {"audienceId": "a1", "audience": {"criteria": [criterion]}}),
        ("/p/events", {"id": "e1", "type": "search", "member": "m1"}),
    ):
        answer = await http.post(f"/v1/programs{path}", json=body)

        assert answer.status_code in {200, 409}, answer.text
    return http


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", [name for name, route in ROUTES.items() if route.body])
async def test_random_objects_are_answered_or_refused(
    prepared: httpx.AsyncClient, name: str, seed: str
) -> None:
    await ask_at_random(prepared, ROUTES[name], 25, seed)


@pytest.mark.parametrize("name", [name for name, route in ROUTES.items() if not route.body])
async def test_random_parameters_are_answered_or_refused(
    prepared: httpx.AsyncClient, name: str
) -> None:
    route = ROUTES[name]
    for field in route.rpc.input_type.fields:
        for value in WRONG:
            if isinstance(value, str) and len(value) < 200 and value != "\ud800":
                from urllib.parse import quote

                await ask(prepared, route, query=f"?{field.json_name}={quote(value)}")


async def test_the_book_is_right_after_all_that(prepared: httpx.AsyncClient) -> None:
    verified = await prepared.get("/v1/programs/p/members/m1:verify")

    assert verified.json()["ok"] is True, verified.text
