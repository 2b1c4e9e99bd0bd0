"""The tiers: the stream of where members stand."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import grpc.aio

from chassis.credentials import OwnCredentials
from loyalty.tiers.v1 import tiers_pb2
from loyalty.tiers.v1.tiers_pb2_grpc import TierServiceStub
from services.audience.peers.calls import erased_of, newer

NAME: Final = "tiers"


@dataclass(frozen=True, slots=True)
class TierMove:
    """Where a member stands from now on."""

    organization: str
    program: str
    member: str
    tier: str


@dataclass(frozen=True, slots=True)
class TierFact:
    """A change as the stream tells it: a move, or who was erased, (organization, member).

    Neither, for what does not concern profiles.
    """

    bucket: int
    sequence: int
    move: TierMove | None
    erased: tuple[str, str] | None = None


class Tiers:
    """The tiers' stream."""

    def __init__(self, channel: grpc.aio.Channel, credentials: OwnCredentials) -> None:
        # The stub's types are those of the synchronous channel, too.
        self._tiers: Any = TierServiceStub(channel)
        self._credentials = credentials

    def watch(self, cursors: Mapping[int, int]) -> Any:
        """The stream of changes after the cursors, as a call of gRPC."""
        request = tiers_pb2.WatchChangesRequest(cursors=dict(cursors))
        return self._tiers.WatchChanges(request, metadata=self._credentials.following())

    async def newer(self, cursors: Mapping[int, int]) -> dict[int, int] | None:
        """Cursors after the next changes; None where nothing newer is recorded."""
        return await newer(self.watch, dict(cursors), NAME)


def tier_facts(changes: Iterable[tiers_pb2.Change]) -> list[TierFact]:
    """Changes of the tiers' stream as values."""
    return [
        TierFact(change.bucket, change.sequence, _move(change), erased_of(change))
        for change in changes
    ]


def _move(change: tiers_pb2.Change) -> TierMove | None:
    if change.WhichOneof("fact") != "membership_changed":
        return None
    moved = change.membership_changed
    if not moved.member:
        # Of somebody who was erased since.
        return None
    return TierMove(change.organization, change.program, moved.member, moved.to_tier)
