"""Lanes: commands that arrive while a transaction runs share the next one.

Row locks give correctness, lanes give speed. A lane owns a disjoint set of buckets and one database
connection, and runs one transaction at a time. A call alone never waits for a clock; the event loop
turns a few times, so that what has arrived already is in the same transaction (`gathering.py`). Any
number of processes may run lanes over the same accounts; the row locks serialize them.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import structlog
from prometheus_client import Gauge, Histogram

from chassis.database import Pool
from chassis.metrics import REGISTRY
from chassis.refusals import DeadlinePassed, DependencyUnavailable, Overloaded
from services.ledger.operations.claims import Outrun
from services.ledger.operations.environment import Environment
from services.ledger.operations.gathering import Arrivals, Crowd, gathered
from services.ledger.operations.outcomes import Broken, Item, Outcome, Refused
from services.ledger.operations.transaction import RevisionMoved, Transaction
from services.ledger.store.accounts import Key
from services.ledger.store.directory import SurrogateTaken
from services.ledger.store.sessions import CONNECTION_LOST, RETRIED, Session

BATCH_MAX = 500
DEPTH_MAX = 20_000
# Long enough for a database that was killed to recover.
RETRY_S_MAX = 10.0
BACKOFF_S = 0.01
BACKOFF_S_MAX = 1.0
# An idle lane keeps a transaction begun for so long; the database ends it after 15 s.
REST_S = 1.0

LANE_DEPTH = Gauge(
    "loyalty_lane_depth",
    "Items waiting for a lane's next transaction",
    ("lane",),
    registry=REGISTRY,
)
LANE_BATCH = Histogram(
    "loyalty_lane_batch",
    "Items of one lane transaction",
    ("lane",),
    buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500),
    registry=REGISTRY,
)

_log = structlog.get_logger()


@dataclass(slots=True, eq=False)
class _Ticket:
    """Items that one caller waits for together."""

    outcomes: list[Outcome | None]
    missing: int
    done: asyncio.Future[None]
    deadline: float | None


_Place = tuple[_Ticket, int, Item]


class Lanes:
    """All lanes of a process. `submit` and `settle` are the only ways to write accounts."""

    def __init__(
        self,
        environment: Environment,
        pool: Pool,
        count: int,
        committed: Callable[[], None] = lambda: None,
    ) -> None:
        self._environment = environment
        self._arrivals = Arrivals()
        self._lanes = [
            _Lane(environment, pool, number, committed, self._arrivals) for number in range(count)
        ]
        self._stopping = False

    def start(self) -> None:
        """Begin to work."""
        for lane in self._lanes:
            lane.start()

    async def stop(self) -> None:
        """Finish what was accepted, then stop; nothing is accepted any more."""
        self._stopping = True
        await asyncio.gather(*(lane.stop() for lane in self._lanes))

    async def submit(self, items: Sequence[Item], deadline: float | None = None) -> list[Outcome]:
        """Do items, each by itself, and answer when all are committed: outcomes in the same order.

        Items of one bucket are done in order. `deadline` is a time of the event loop's clock: an
        item that has not begun by then is refused with DEADLINE_PASSED. Cancelling the caller
        changes nothing about the items. Refuses with OVERLOADED where a lane's queue is full.
        """
        if self._stopping:
            raise Overloaded
        self._arrivals.count += 1
        loop = asyncio.get_running_loop()
        ticket = _Ticket([None] * len(items), len(items), loop.create_future(), deadline)
        lanes = self._lanes
        count = len(lanes)
        places: dict[int, list[_Place]] = {}
        for place, item in enumerate(items):
            if item.key is not None:
                bucket = item.key[0]
            else:
                assert item.name is not None
                addresses = self._environment.addresses
                known = addresses.get(item.name)
                bucket = item.name.name_bucket if known is None else addresses.landing(known)[0]
            places.setdefault(bucket % count, []).append((ticket, place, item))
        if any(lanes[number].full(len(some)) for number, some in places.items()):
            raise Overloaded
        for number, some in places.items():
            lanes[number].put(some)
        self._arrivals.under_way += 1
        try:
            await ticket.done
        finally:
            self._arrivals.under_way -= 1
        return [outcome for outcome in ticket.outcomes if outcome is not None]

    async def settle(self, accounts: Collection[Key], /, *, again: bool = False) -> None:
        """Post what fell due for accounts by their program's now; refusals are raised.

        With `again` also accounts that do not know of anything that is due.
        """
        outcomes = await self.submit([Item(key=key, again=again) for key in accounts])
        for outcome in outcomes:
            if isinstance(outcome, Broken):
                raise outcome.fault
            if isinstance(outcome, Refused):
                raise outcome.refusal


class _Lane:
    def __init__(
        self,
        environment: Environment,
        pool: Pool,
        number: int,
        committed: Callable[[], None],
        arrivals: Arrivals,
    ) -> None:
        self._environment = environment
        self._committed = committed
        self._arrivals = arrivals
        # Callers that put something since the last transaction began.
        self._callers = 0
        self._crowd = Crowd()
        self._session = Session(pool)
        self._queue: deque[_Place] = deque()
        self._awake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._stopping = False
        self._depth = LANE_DEPTH.labels(str(number))
        self._batch = LANE_BATCH.labels(str(number))

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        self._stopping = True
        self._awake.set()
        if self._task is not None:
            await self._task

    def full(self, more: int) -> bool:
        return len(self._queue) + more > DEPTH_MAX

    def put(self, places: list[_Place]) -> None:
        self._queue.extend(places)
        self._callers += 1
        self._awake.set()

    async def _run(self) -> None:
        while not (self._stopping and not self._queue):
            try:
                await self._work()
            except Exception:  # noqa: BLE001 - whatever broke, the next one is tried
                # A lane that ended would keep all who come to it waiting, and nobody would know.
                _log.exception("a lane broke and goes on")
                await asyncio.sleep(BACKOFF_S)
        await self._session.close()

    async def _work(self) -> None:
        """Wait for something to do, or do some of it."""
        if not self._queue:
            self._awake.clear()
            await self._wait()
            return
        await gathered(
            lambda: len(self._queue),
            BATCH_MAX,
            lambda: self._callers,
            self._crowd,
            self._arrivals,
        )
        self._crowd.served(self._callers)
        self._callers = 0
        batch = self._take()
        if batch:
            self._batch.observe(len(batch))
            await self._transact(batch)

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(REST_S):
                await self._awake.wait()
        except TimeoutError:
            await self._session.rest()
            await self._awake.wait()

    def _take(self) -> list[_Place]:
        now = asyncio.get_running_loop().time()
        batch: list[_Place] = []
        queue = self._queue
        self._depth.set(len(queue))
        while queue and len(batch) < BATCH_MAX:
            place = queue.popleft()
            deadline = place[0].deadline
            if deadline is not None and deadline <= now:
                _answer(place, Refused(DeadlinePassed()))
                continue
            alone = place[2].plan is not None and place[2].plan.alone
            if alone and batch:
                queue.appendleft(place)
                break
            batch.append(place)
            if alone:
                break
        return batch

    async def _transact(self, batch: list[_Place]) -> None:
        items = [item for _, _, item in batch]
        try:
            outcomes = await self._attempts(items)
        except CONNECTION_LOST:
            # Nobody's command is to blame, and whether it was committed is told by its request id.
            for place in batch:
                _answer(place, Refused(DependencyUnavailable("database")))
            return
        except Exception as fault:  # noqa: BLE001 - whatever it is, it is one command's answer
            if len(batch) == 1:
                _log.exception("a command cannot be decided", error=type(fault).__name__)
                _answer(batch[0], Broken(fault))
                return
            # One of them may be poison: halve until it is alone.
            middle = len(batch) // 2
            await self._transact(batch[:middle])
            await self._transact(batch[middle:])
            return
        for place, outcome in zip(batch, outcomes, strict=True):
            _answer(place, outcome)

    async def _attempts(self, items: list[Item]) -> list[Outcome]:
        loop = asyncio.get_running_loop()
        until = loop.time() + RETRY_S_MAX
        pause = BACKOFF_S
        while True:
            try:
                return await self._once(items)
            except (
                RevisionMoved,
                Outrun,
                SurrogateTaken,
                *RETRIED,
                *CONNECTION_LOST,
            ) as error:
                if loop.time() >= until:
                    raise
                _log.warning("a transaction is tried again", error=type(error).__name__)
            jitter = self._environment.random_bits(10) / 1024
            await asyncio.sleep(pause * (0.5 + jitter))
            pause = min(pause * 2, BACKOFF_S_MAX)

    async def _once(self, items: list[Item]) -> list[Outcome]:
        connection = await self._session.begin()
        try:
            transaction = Transaction(self._environment, connection, items)
            outcomes = await transaction.run()
        except BaseException:
            await self._session.rollback()
            raise
        for item in items:
            item.ambiguous = True
        await self._session.commit()
        transaction.remember()
        self._committed()
        return outcomes


def _answer(place: _Place, outcome: Outcome) -> None:
    ticket, number, _ = place
    ticket.outcomes[number] = outcome
    ticket.missing -= 1
    if not ticket.missing and not ticket.done.done():
        ticket.done.set_result(None)
