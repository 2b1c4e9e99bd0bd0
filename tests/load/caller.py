"""A load generator: a process that does what its standard input says and answers in JSON lines."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import grpc
import uvloop

from loyalty.ledger.v1 import ledger_pb2, program_pb2
from loyalty.ledger.v1.ledger_pb2_grpc import LedgerServiceStub
from loyalty.ledger.v1.program_pb2_grpc import ProgramServiceStub
from tests.load.loads import GIFT, ORGANIZATION, PROGRAM, Load, Tally, load_of, member, message_of

if TYPE_CHECKING:
    # The generated types know two classes where there is one at run time.
    from loyalty.ledger.v1.ledger_pb2_grpc import LedgerServiceAsyncStub

TIMEOUT_S = 30.0
ENROLLING_AT_ONCE = 8
UNDER_WAY_MAX = 400
"""Of one generator in an open loop: two of them stay below what the server takes on at once."""
Metadata = tuple[tuple[str, str], ...]
Call = Callable[[], Awaitable[int]]


class Members:
    """Chooses members for a load, and makes request ids that nobody used."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._prefix = f"{random.getrandbits(40):010x}"
        self._numbers = itertools.count()
        self._weights: list[float] | None = None
        if load.zipf:
            shares = (1 / rank for rank in range(1, load.members + 1))
            self._weights = list(itertools.accumulate(shares))
        self._range = range(load.members)

    def one(self) -> str:
        """A member."""
        if self._load.members == 1:
            return self._load.hot
        if self._weights is not None:
            return member(random.choices(self._range, cum_weights=self._weights)[0])
        return member(random.randrange(self._load.members))

    def some(self, count: int) -> list[str]:
        """Members of one batch: different ones where there are enough of them."""
        if self._load.members == 1:
            return [self._load.hot] * count
        return [member(number) for number in random.sample(self._range, count)]

    def request_id(self) -> str:
        """A request id of 19 characters, as the baseline's."""
        return f"{self._prefix}-{next(self._numbers):08d}"


class Calls:
    """The calls that a load is made of; each answers how many operations it did."""

    def __init__(self, stub: LedgerServiceAsyncStub, members: Members, metadata: Metadata) -> None:
        self._stub = stub
        self._members = members
        self._metadata = metadata

    async def earn(self) -> int:
        request = ledger_pb2.EarnRequest(
            program=PROGRAM,
            member=self._members.one(),
            request_id=self._members.request_id(),
            points=GIFT,
        )
        await self._stub.Earn(request, metadata=self._metadata, timeout=TIMEOUT_S)
        return 1

    async def redeem(self) -> int:
        request = ledger_pb2.RedeemRequest(
            program=PROGRAM,
            member=self._members.one(),
            request_id=self._members.request_id(),
            points=GIFT,
        )
        await self._stub.Redeem(request, metadata=self._metadata, timeout=TIMEOUT_S)
        return 1

    async def get(self) -> int:
        request = ledger_pb2.GetAccountRequest(program=PROGRAM, member=self._members.one())
        await self._stub.GetAccount(request, metadata=self._metadata, timeout=TIMEOUT_S)
        return 1

    async def batch(self, size: int) -> int:
        request = batch_request(self._members.some(size), self._members.request_id)
        answer = await self._stub.BatchPost(request, metadata=self._metadata, timeout=TIMEOUT_S)
        return sum(1 for each in answer.results if each.HasField("posting"))

    def of(self, load: Load) -> Call:
        """The call that one caller of a load makes again and again."""
        if load.method == "BatchPost":
            return lambda: self.batch(load.batch)
        if load.method == "EarnRedeem":
            turns = itertools.cycle((self.earn, self.redeem))
            return lambda: next(turns)()  # noqa: PLW0108 - the next turn is taken when it is called
        if load.method == "Mixed":
            return lambda: self.earn() if random.random() < 0.7 else self.redeem()
        return {"Earn": self.earn, "GetAccount": self.get}[load.method]


def batch_request(
    members: list[str], request_id: Callable[[], str], points: int = GIFT
) -> ledger_pb2.BatchPostRequest:
    """A batch that gives each of the members points."""
    request = ledger_pb2.BatchPostRequest(program=PROGRAM)
    for each in members:
        post = request.requests.add(member=each, request_id=request_id())
        post.operations.add().earn.points = points
    return request


async def run(load: Load, metadata: Metadata) -> Tally:
    """Do a load."""
    async with channel_to(load.address) as channel:
        calls = Calls(LedgerServiceStub(channel), Members(load), metadata)
        counted = Counted(load)
        if load.rate:
            await come_at_random(load, calls.of(load), counted)
        else:
            await asyncio.gather(
                *(call_again(load, calls.of(load), counted) for _ in range(load.callers))
            )
    return counted.tally()


class Counted:
    """What the calls of a load came to so far."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._latencies: list[float] = []
        self._done = self._all_done = self._refused = 0
        self._refusal = ""

    async def make(self, call: Call, due: float) -> None:
        """Make a call that was due at a moment, and count it."""
        try:
            operations = await call()
        except grpc.aio.AioRpcError as error:
            self.refuse(f"{error.code().name}: {error.details()}")
            return
        now = time.monotonic()
        self._all_done += operations
        if self._load.measure <= now < self._load.end:
            self._done += operations
            self._latencies.append(now - due)

    def refuse(self, why: str) -> None:
        """Count a call that came to nothing."""
        self._refused += 1
        self._refusal = why

    def tally(self) -> Tally:
        """All of it."""
        seconds = self._load.end - self._load.measure
        latencies = tuple(sorted(self._latencies))
        return Tally(self._done, self._all_done, self._refused, seconds, latencies, self._refusal)


async def call_again(load: Load, call: Call, counted: Counted) -> None:
    """Be one caller, who calls again as soon as it is answered."""
    await asyncio.sleep(max(0.0, load.begin - time.monotonic()))
    while (now := time.monotonic()) < load.end:
        await counted.make(call, now)


async def come_at_random(load: Load, call: Call, counted: Counted) -> None:
    """Call at random moments, whether or not earlier calls were answered."""
    under_way: set[asyncio.Task[None]] = set()
    due = load.begin
    while (due := due + random.expovariate(load.rate)) < load.end:
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        if len(under_way) >= UNDER_WAY_MAX:
            counted.refuse("the load generator has too many calls under way")
            continue
        task = asyncio.create_task(counted.make(call, due))
        under_way.add(task)
        task.add_done_callback(under_way.discard)
    await asyncio.gather(*under_way)


async def prepare(
    address: str, metadata: Metadata, members: int, others: list[str]
) -> dict[str, Any]:
    """Make the program and enrol its members, with points for many redemptions.

    The others get those of one: whoever earns and redeems in turn has enough, and few lots.
    """
    names = [member(number) for number in range(members)]
    async with channel_to(address) as channel:
        programs = ProgramServiceStub(channel)
        stub = LedgerServiceStub(channel)
        organization = program_pb2.CreateOrganizationRequest(organization=ORGANIZATION)
        await programs.CreateOrganization(organization, metadata=metadata, timeout=TIMEOUT_S)
        request = program_pb2.CreateProgramRequest(program=PROGRAM)
        request.settings.program.auto_enrol = True
        await programs.CreateProgram(request, metadata=metadata, timeout=TIMEOUT_S)
        pieces = [names[start : start + 200] for start in range(0, len(names), 200)]
        limit = asyncio.Semaphore(ENROLLING_AT_ONCE)

        async def enrol(piece: list[str], points: int) -> None:
            async with limit:
                batch = batch_request(piece, lambda: "enrolment", points)
                answer = await stub.BatchPost(batch, metadata=metadata, timeout=TIMEOUT_S)
                assert all(each.HasField("posting") for each in answer.results), answer.results[0]

        await asyncio.gather(*(enrol(piece, 1000 * GIFT) for piece in pieces), enrol(others, GIFT))
        earn = ledger_pb2.EarnRequest(
            program=PROGRAM, member=member(0), request_id="example", points=GIFT
        )
        earned = await stub.Earn(earn, metadata=metadata, timeout=TIMEOUT_S)
        return {
            "Earn": earned.SerializeToString().hex(),
            "GetAccount": earned.account.SerializeToString().hex(),
        }


@asynccontextmanager
async def channel_to(address: str) -> AsyncIterator[grpc.aio.Channel]:
    """A channel with a connection of its own, connected."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(address, options=options) as channel:
        async with asyncio.timeout(TIMEOUT_S):
            await channel.channel_ready()
        yield channel


async def main() -> None:
    """Serve the standard input."""
    for line in sys.stdin:
        asked = json.loads(line)
        metadata = (("authorization", f"Bearer {asked['token']}"),)
        if asked["do"] == "prepare":
            answer = await prepare(asked["address"], metadata, asked["members"], asked["others"])
        else:
            answer = message_of(await run(load_of(asked["load"]), metadata))
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    uvloop.run(main())
