"""AdvanceClock over services that have something due, are down, or refuse."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from chassis.refusals import error_info, status_of_error
from kernel.refusals import NotSandbox, ProgramNotFound, Refusal
from loyalty.common.v1 import clock_pb2
from loyalty.ledger.v1 import program_pb2, program_pb2_grpc
from services.gateway.__main__ import Ports, running
from testkit import keys
from testkit.servers import authorized_channel, metadata
from tests.gateway.gateway_kit import ADMIN, NAMES, FakeSuite, gateway_settings

START = datetime(2026, 1, 1, tzinfo=UTC)
ROUTE = "/v1/programs/p:advanceClock"


def day(number: int) -> datetime:
    return START + timedelta(days=number)


def stamp(time: datetime) -> Timestamp:
    timestamp = Timestamp()
    timestamp.FromDatetime(time)
    return timestamp


class GoesBack(Refusal):
    reason = "CLOCK_GOES_BACK"


class SandboxOfFakes:
    """A sandbox in four services; what is due where, and what each did at which instant."""

    def __init__(self, fakes: FakeSuite) -> None:
        self.now = START
        self.due: dict[str, list[datetime]] = {name: [] for name in NAMES}
        self.done: list[tuple[str, datetime]] = []
        self.calls = 0
        for name in NAMES:
            fakes[name].answers["GetNextDue"] = self._next_due(name)
            fakes[name].answers["CatchUp"] = self._catch_up(name)
        fakes["ledger"].answers["AdvanceClock"] = self._advance

    def log(self) -> list[tuple[str, int]]:
        """What was done, at which day."""
        return [(name, (time - START).days) for name, time in self.done]

    def _next_due(self, name: str) -> Callable[[Any, Any], Any]:
        def answer(_request: Any, _context: Any) -> clock_pb2.GetNextDueResponse:
            self.calls += 1
            later = [time for time in self.due[name] if time > self.now]
            return clock_pb2.GetNextDueResponse(time=stamp(min(later)) if later else None)

        return answer

    def _catch_up(self, name: str) -> Callable[[Any, Any], Any]:
        def answer(request: Any, _context: Any) -> clock_pb2.CatchUpResponse:
            time = request.time.ToDatetime(UTC)
            if name == "ledger":
                self.now = max(self.now, time)
            return clock_pb2.CatchUpResponse(time=stamp(self.now), done=self._do(name))

        return answer

    def _advance(self, request: Any, _context: Any) -> program_pb2.AdvanceClockResponse:
        time = request.time.ToDatetime(UTC)
        if time < self.now:
            raise GoesBack("back", now=str(self.now))
        self.now = time
        return program_pb2.AdvanceClockResponse(
            time=stamp(time), settled_accounts=self._do("ledger")
        )

    def _do(self, name: str) -> int:
        self.calls += 1
        due = sorted(time for time in self.due[name] if time <= self.now)
        self.done += [(name, time) for time in due]
        self.due[name] = [time for time in self.due[name] if time > self.now]
        return len(due)


@pytest.fixture
def sandbox(fakes: FakeSuite) -> SandboxOfFakes:
    return SandboxOfFakes(fakes)


@pytest.fixture
async def programs(ports: Ports, sandbox: SandboxOfFakes) -> AsyncIterator[Any]:
    async with authorized_channel(ports.grpc) as channel:
        yield program_pb2_grpc.ProgramServiceStub(channel)


async def advance(client: httpx.AsyncClient, number: int) -> httpx.Response:
    return await client.post(ROUTE, json={"time": day(number).isoformat()})


async def test_services_meet_at_every_instant_at_which_one_of_them_has_something_due(
    client: httpx.AsyncClient, sandbox: SandboxOfFakes
) -> None:
    sandbox.due = {
        "ledger": [day(1), day(4), day(9), day(40)],
        "rules": [],
        "tiers": [day(3), day(8)],
        "audience": [day(8)],
    }
    answer = await advance(client, 30)

    assert answer.status_code == 200, answer.text
    assert answer.json() == {"time": "2026-01-31T00:00:00Z", "settledAccounts": "3"}
    assert sandbox.log() == [
        ("ledger", 1),
        ("tiers", 3),
        ("ledger", 4),
        ("tiers", 8),
        ("audience", 8),
        ("ledger", 9),
    ]


async def test_a_year_of_due_points_is_a_few_calls(
    client: httpx.AsyncClient, sandbox: SandboxOfFakes
) -> None:
    sandbox.due["ledger"] = [day(number) for number in range(1, 366)]
    answer = await advance(client, 365)

    assert answer.json()["settledAccounts"] == "365"
    assert sandbox.calls == 8


async def test_what_an_instant_brings_about_before_the_end_is_done_on_the_way(
    client: httpx.AsyncClient, sandbox: SandboxOfFakes, fakes: FakeSuite
) -> None:
    sandbox.due["tiers"] = [day(5)]
    plain = fakes["audience"].answers["CatchUp"]

    def follow(request: Any, context: Any) -> Any:
        if sandbox.now == day(5):
            sandbox.due["audience"].append(day(6))
        return plain(request, context)

    fakes["audience"].answers["CatchUp"] = follow
    await advance(client, 10)

    assert sandbox.log() == [("tiers", 5), ("audience", 6)]
    assert sandbox.now == day(10)


@pytest.mark.parametrize("name", ["rules", "tiers", "audience"])
async def test_what_was_cut_short_is_completed_by_the_same_call(
    client: httpx.AsyncClient, sandbox: SandboxOfFakes, fakes: FakeSuite, name: str
) -> None:
    sandbox.due |= {"ledger": [day(2)], name: [day(4), day(6)]}
    plain = fakes[name].answers["CatchUp"]

    def break_down(request: Any, context: Any) -> Any:
        raise RuntimeError("dies here")

    fakes[name].answers["CatchUp"] = break_down
    broken = await advance(client, 10)
    fakes[name].answers["CatchUp"] = plain
    again = await advance(client, 10)

    assert broken.status_code == 500
    assert again.status_code == 200
    assert sorted(sandbox.log()) == sorted([("ledger", 2), (name, 4), (name, 6)])
    assert sandbox.now == day(10)


async def test_a_service_that_always_has_something_due_holds_nobody_up(
    client: httpx.AsyncClient, sandbox: SandboxOfFakes, fakes: FakeSuite
) -> None:
    fakes["rules"].answers["GetNextDue"] = lambda request, _: clock_pb2.GetNextDueResponse(
        time=stamp(day(-5))
    )
    answer = await asyncio.wait_for(advance(client, 3), 10)

    assert answer.status_code == 200
    assert sandbox.now == day(3)


@pytest.mark.parametrize("refusal", [ProgramNotFound("p"), NotSandbox()])
async def test_what_the_ledger_refuses_is_refused_and_nothing_moves(
    client: httpx.AsyncClient, sandbox: SandboxOfFakes, fakes: FakeSuite, refusal: Refusal
) -> None:
    def refuse(request: Any, _: Any) -> Any:
        raise refusal

    fakes["ledger"].answers["GetNextDue"] = refuse
    answer = await advance(client, 3)

    assert answer.json()["reason"] == refusal.reason
    assert sandbox.now == START


async def test_a_clock_does_not_go_back(client: httpx.AsyncClient, sandbox: SandboxOfFakes) -> None:
    await advance(client, 9)
    answer = await advance(client, 8)
    same = await advance(client, 9)

    assert (answer.status_code, answer.json()["reason"]) == (409, "CLOCK_GOES_BACK")
    assert same.status_code == 200


async def test_the_grpc_door_moves_all_services_too(
    programs: Any, sandbox: SandboxOfFakes, ports: Ports
) -> None:
    sandbox.due["audience"] = [day(1)]
    request = program_pb2.AdvanceClockRequest(program="p", time=stamp(day(2)))
    answer = await programs.AdvanceClock(request)
    by_key = await programs.AdvanceClock(request, metadata=metadata(ADMIN))

    assert answer.time == by_key.time == stamp(day(2))
    assert sandbox.log() == [("audience", 1)]


async def test_only_the_clock_of_the_ledgers_service_is_served_there(programs: Any) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await programs.GetProgram(program_pb2.GetProgramRequest(program="p"))
    info = error_info(status_of_error(caught.value, ""))

    assert info is not None
    assert info.reason == "METHOD_NOT_SERVED"


async def test_who_may_not_write_programs_does_not_move_time(
    programs: Any, sandbox: SandboxOfFakes
) -> None:
    request = program_pb2.AdvanceClockRequest(program="p", time=stamp(day(2)))
    reader = metadata(keys.token(scopes=["programs:read"]))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await programs.AdvanceClock(request, metadata=reader)

    assert caught.value.code() == grpc.StatusCode.PERMISSION_DENIED
    assert sandbox.calls == 0


@pytest.mark.parametrize(
    "body", [{}, {"time": "1800-01-01T00:00:00Z"}, {"time": "9999-01-01T00:00:00Z"}]
)
async def test_a_time_that_is_none_is_refused_before_anything(
    client: httpx.AsyncClient, sandbox: SandboxOfFakes, body: dict[str, str]
) -> None:
    answer = await client.post(ROUTE, json=body)

    assert (answer.status_code, answer.json()["reason"]) == (400, "INVALID_FIELD")
    assert answer.json()["violations"][0]["field"] == "time"
    assert sandbox.calls == 0


@pytest.mark.parametrize(
    "time",
    [
        Timestamp(seconds=1, nanos=-1),
        Timestamp(seconds=1, nanos=2_000_000_000),
        Timestamp(seconds=2**62),
        Timestamp(seconds=-(2**62), nanos=2**31 - 1),
    ],
    ids=str,
)
async def test_a_time_that_no_clock_shows_is_refused_on_the_grpc_door(
    programs: Any, sandbox: SandboxOfFakes, time: Timestamp
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await programs.AdvanceClock(program_pb2.AdvanceClockRequest(program="p", time=time))

    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert sandbox.calls == 0


async def test_the_time_that_a_caller_gives_bounds_the_call(
    client: httpx.AsyncClient, sandbox: SandboxOfFakes, fakes: FakeSuite
) -> None:
    async def hang(request: Any, _: Any) -> Any:
        await asyncio.sleep(5)
        return clock_pb2.CatchUpResponse()

    fakes["tiers"].answers["CatchUp"] = hang
    answer = await asyncio.wait_for(
        client.post(ROUTE, json={"time": day(3).isoformat()}, headers={"x-request-timeout": "0.5"}),
        4,
    )

    assert answer.json()["reason"] == "DEADLINE_PASSED"


async def test_without_a_time_of_its_own_a_call_may_take_longer_than_others(
    tmp_path: Path, sandbox: SandboxOfFakes, fakes: FakeSuite
) -> None:
    async def slowly(request: Any, _: Any) -> Any:
        await asyncio.sleep(0.6)
        return clock_pb2.CatchUpResponse()

    fakes["tiers"].answers["CatchUp"] = slowly
    settings = gateway_settings(
        tmp_path,
        request_timeout_seconds=0.3,
        default_deadline_seconds=0.3,
        **fakes.addresses,
    )
    async with (
        running(settings) as ports,
        httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{ports.http}",
            headers={"authorization": f"Bearer {ADMIN}"},
            trust_env=False,
        ) as client,
        authorized_channel(ports.grpc) as channel,
    ):
        over_http = await advance(client, 3)
        stub: Any = program_pb2_grpc.ProgramServiceStub(channel)
        request = program_pb2.AdvanceClockRequest(program="p", time=stamp(day(4)))
        over_grpc = await stub.AdvanceClock(request)

    assert over_http.status_code == 200, over_http.text
    assert over_grpc.time == stamp(day(4))


@pytest.mark.parametrize("name", NAMES)
async def test_nothing_moves_while_a_service_is_down_and_the_same_call_completes_it(
    tmp_path: Path, name: str
) -> None:
    fakes = FakeSuite()
    await fakes.start()
    sandbox = SandboxOfFakes(fakes)
    sandbox.due |= {"ledger": [day(2)], name: [day(4)]}
    expected = sorted(
        (owner, (time - START).days) for owner in NAMES for time in sandbox.due[owner]
    )
    async with (
        running(gateway_settings(tmp_path, **fakes.addresses)) as ports,
        httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{ports.http}",
            headers={"authorization": f"Bearer {ADMIN}"},
            trust_env=False,
        ) as client,
    ):
        await fakes[name].stop()
        down = await advance(client, 10)
        moved = sandbox.now
        await fakes[name].start(fakes[name].port)
        again = None
        for _ in range(300):
            again = await advance(client, 10)
            if again.status_code == 200:
                break
            await asyncio.sleep(0.1)
    await fakes.stop()

    assert (down.status_code, down.json()["reason"]) == (503, "DEPENDENCY_UNAVAILABLE")
    assert down.json()["metadata"] == {"dependency": name}
    assert moved == START
    assert again is not None
    assert again.status_code == 200
    assert sorted(sandbox.log()) == expected
