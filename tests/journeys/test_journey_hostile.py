"""Random input on every route, through to the real ledger: never a 5xx."""

from typing import Any

import httpx
import pytest

from tests.gateway.hostile_kit import ROUTES, WRONG, ask, ask_at_random

SEEDS = ("1", "2")


@pytest.fixture
async def prepared(http: httpx.AsyncClient) -> Any:
    """The program and the member that the requests name."""
    await http.post(
        "/v1/programs", json={"program": "p", "settings": {"program": {"autoEnrol": True}}}
    )
    await http.post("/v1/programs/p/members/m1:earn", json={"points": 1000, "requestId": "opening"})
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
