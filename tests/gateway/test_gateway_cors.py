"""Which pages in browsers may call: preflights, and what answers say to browsers."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from pydantic import ValidationError

from services.gateway.__main__ import running
from tests.gateway.gateway_kit import ADMIN, FakeSuite, gateway_settings

SHOP = "https://shop.example"
ROUTE = "/v1/programs/p/members/m1:earn"


@asynccontextmanager
async def gateway(folder: Path, fakes: FakeSuite, origins: str) -> AsyncIterator[httpx.AsyncClient]:
    settings = gateway_settings(folder, **fakes.addresses, cors_origins=origins)
    async with (
        running(settings) as ports,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{ports.http}", trust_env=False) as client,
    ):
        yield client


async def preflight(
    client: httpx.AsyncClient, origin: str, *, method: str = "POST", headers: str = ""
) -> httpx.Response:
    asked = {
        "origin": origin,
        "access-control-request-method": method,
        "access-control-request-headers": headers or "authorization, idempotency-key",
    }
    return await client.options(ROUTE, headers=asked)


async def call(client: httpx.AsyncClient, origin: str, credential: str = ADMIN) -> httpx.Response:
    headers = {
        "origin": origin,
        "authorization": f"Bearer {credential}",
        "idempotency-key": "till-7-1",
    }
    return await client.post(ROUTE, json={"points": "1"}, headers=headers)


def said(answer: httpx.Response) -> set[str]:
    """What an answer says to browsers."""
    return {name for name in answer.headers if name.startswith("access-control-")}


async def test_without_origins_browsers_are_told_nothing(tmp_path: Path, fakes: FakeSuite) -> None:
    async with gateway(tmp_path, fakes, "") as client:
        asked, called = await preflight(client, SHOP), await call(client, SHOP)

    assert asked.status_code >= 400
    assert called.status_code == 200
    assert said(asked) == said(called) == set()


async def test_pages_of_an_allowed_origin_may_call_and_read_what_is_answered(
    tmp_path: Path, fakes: FakeSuite
) -> None:
    async with gateway(tmp_path, fakes, f" {SHOP}, http://localhost:5173 ") as client:
        asked = await preflight(client, SHOP)
        called = await call(client, SHOP)
        refused = await call(client, "http://localhost:5173", "nobody's key")

    assert asked.status_code == 200
    assert asked.headers["access-control-allow-origin"] == SHOP
    assert "POST" in asked.headers["access-control-allow-methods"]
    assert {"authorization", "idempotency-key", "content-type"} <= {
        each.strip().lower() for each in asked.headers["access-control-allow-headers"].split(",")
    }
    assert called.status_code == 200
    assert called.headers["access-control-allow-origin"] == SHOP
    # A refusal, too, is for the page to read.
    assert refused.status_code == 401
    assert refused.headers["access-control-allow-origin"] == "http://localhost:5173"
    assert refused.json()["reason"] == "CREDENTIAL_INVALID"
    # Caches keep the answers to different pages apart.
    assert "origin" in called.headers["vary"].lower()


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "https://shop.example.evil", "http://shop.example", "null"]
)
async def test_pages_of_other_origins_may_not(
    tmp_path: Path, fakes: FakeSuite, origin: str
) -> None:
    async with gateway(tmp_path, fakes, SHOP) as client:
        asked, called = await preflight(client, origin), await call(client, origin)

    assert asked.status_code == 400
    assert "access-control-allow-origin" not in asked.headers
    assert "access-control-allow-origin" not in called.headers


async def test_what_is_never_needed_is_not_allowed(tmp_path: Path, fakes: FakeSuite) -> None:
    async with gateway(tmp_path, fakes, SHOP) as client:
        method = await preflight(client, SHOP, method="TRACE")
        header = await preflight(client, SHOP, headers="x-forwarded-for")

    assert (method.status_code, header.status_code) == (400, 400)


@pytest.mark.parametrize("origins", ["*", SHOP])
async def test_browsers_never_send_cookies_along(
    tmp_path: Path, fakes: FakeSuite, origins: str
) -> None:
    async with gateway(tmp_path, fakes, origins) as client:
        asked, called = await preflight(client, SHOP), await call(client, SHOP)

    assert called.headers["access-control-allow-origin"] == origins
    assert "access-control-allow-credentials" not in said(asked) | said(called)


@pytest.mark.parametrize(
    "origins", ["shop.example", f"{SHOP}/", f"*,{SHOP}", "https://*.example", "ftp://a", "null"]
)
def test_what_is_no_origin_is_refused_at_the_start(tmp_path: Path, origins: str) -> None:
    with pytest.raises(ValidationError, match="is no origin"):
        gateway_settings(tmp_path, cors_origins=origins)
