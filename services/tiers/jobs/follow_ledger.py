"""Follows the ledger: whoever's counters moved is evaluated, whichever way the posting came."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC
from typing import NoReturn

from chassis.logs import logger
from chassis.streams import Cursors, Pace, follow
from loyalty.ledger.v1 import resources_pb2
from services.tiers.jobs.merged import Merged
from services.tiers.operations.apply_postings import STREAM, Touch, apply_postings, load_cursors
from services.tiers.operations.context import TiersContext
from services.tiers.operations.forget import forget_members
from services.tiers.store.erasures import Gone
from services.tiers.store.followed import turn
from services.tiers.store.ladders import Program

RETRY_S = 1.0
# A sandbox whose clock is advanced waits for the follower: it finds the ledger again soon.
PACE = Pace(last_seconds=2.0)

_Kind = resources_pb2.Entry.Kind
_POINTS_EARNED = "points_earned"


class Follower:
    """The effect of the ledger's stream, and how far it was applied by this process."""

    def __init__(self, context: TiersContext) -> None:
        self._context = context
        self._cursors: dict[int, int] = {}

    async def load(self) -> Cursors:
        """The stored cursors, from which applying goes on."""
        self._cursors = await load_cursors(self._context)
        return self._cursors

    async def apply(self, changes: Sequence[resources_pb2.Change], moved: Cursors) -> None:
        """Apply changes and store the cursors after them."""
        # Before the rest: whoever has the id by now is evaluated as somebody new.
        gone = [erased for change in changes if (erased := self._gone(change)) is not None]
        await forget_members(self._context, gone)
        touches = [touch for change in changes if (touch := touch_of(change)) is not None]
        await apply_postings(self._context, touches, self._cursors, moved)
        self._cursors.update(moved)

    def _gone(self, change: resources_pb2.Change) -> Gone | None:
        """Who was erased; None for another change, and where the ledger has forgotten it."""
        if change.WhichOneof("fact") != "member_erased" or not change.member_erased.member:
            return None
        member = change.member_erased.member
        bucket = self._context.bucket(change.organization, member)
        return Gone(bucket, change.organization, member, (change.bucket, change.sequence))

    async def follow(self) -> NoReturn:
        """Follow for ever."""
        context = self._context
        await follow(
            lambda cursors: Merged(context.ledger.watch(cursors, context.credentials.following())),
            self.load,
            self.apply,
            name=STREAM,
            pace=PACE,
        )


async def run(context: TiersContext, dsn: str) -> NoReturn:
    """Follow the ledger whenever it is this process's turn."""
    log = logger("follower")
    while True:
        try:
            async with turn(dsn, STREAM) as lost:
                following = asyncio.create_task(Follower(context).follow())
                waiting = asyncio.create_task(lost.wait())
                try:
                    await asyncio.wait({following, waiting}, return_when="FIRST_COMPLETED")
                finally:
                    for task in (following, waiting):
                        task.cancel()
                        with suppress(asyncio.CancelledError):
                            await task
        except Exception as error:  # noqa: BLE001 - a database that is away comes back
            log.warning("no turn to follow", error=repr(error))
        await asyncio.sleep(RETRY_S)


def touch_of(change: resources_pb2.Change) -> Touch | None:
    """What a change says to the tiers; None where it moved no counter."""
    if change.WhichOneof("fact") != "posting":
        return None
    posting = change.posting
    # Tiers are counted where the points are: on the group of a member who belongs to one.
    member = posting.account_member or posting.member
    counters: set[str] = set()
    enrolled = False
    for entry in posting.entries:
        if entry.kind in (_Kind.COUNTED, _Kind.COUNT_REVERSED):
            counters.add(entry.counter)
        elif entry.kind in (_Kind.EARNED, _Kind.EARNING_REVERSED):
            # Without a currency it is the default one's, whichever that is.
            counters |= {_POINTS_EARNED, f"{_POINTS_EARNED}:{entry.currency}"}
        elif entry.kind == _Kind.ENROLLED:
            enrolled = True
    # Nobody stands behind what an erased member did.
    if not member or not (counters or enrolled):
        return None
    return Touch(
        program=Program(change.organization, change.program),
        member=member,
        time=posting.record_time.ToDatetime(tzinfo=UTC),
        enrolled=enrolled,
        counters=frozenset(counters),
        version=posting.version,
    )
