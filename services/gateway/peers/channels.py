"""Channels to the services: a few for each, kept alive, with retries where they do no harm."""

import asyncio
import itertools
from collections.abc import Iterable, Mapping
from typing import Generic, TypeVar

import grpc.aio
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2  # type: ignore[import-untyped]  # ships no types

from chassis.channels import Metadata, open_channel
from chassis.settings import ServiceSettings

Answer = TypeVar("Answer", bound=Message)

_HEALTH = "/grpc.health.v1.Health/Check"


class UnaryCall(Generic[Answer]):
    """One unary method on the channels of its service, taken in turn."""

    def __init__(
        self, channels: Iterable[grpc.aio.Channel], method: str, answer: type[Answer]
    ) -> None:
        self._stubs = itertools.cycle(
            [
                channel.unary_unary(
                    method,
                    request_serializer=_serialize,
                    response_deserializer=answer.FromString,
                )
                for channel in channels
            ]
        )

    async def __call__(self, request: Message, timeout: float, metadata: Metadata) -> Answer:  # noqa: ASYNC109 - gRPC's own deadline
        """Call within `timeout` seconds; `grpc.aio.AioRpcError` where it fails."""
        stub = next(self._stubs)
        return await stub(request, timeout=timeout, metadata=metadata)


class Channels:
    """Channels by name of service.

    `targets` are addresses by name; `retried` are the methods that are called again when the answer
    was UNAVAILABLE. Each service has one more channel for calls that are made once whatever is
    answered.
    """

    def __init__(
        self,
        targets: Mapping[str, str],
        settings: ServiceSettings,
        retried: Iterable[str],
        *,
        each: int = 2,
    ) -> None:
        self._settings = settings
        self._retried = frozenset(retried)
        self._each = each
        self._channels: dict[str, list[grpc.aio.Channel]] = {}
        self._once: dict[str, grpc.aio.Channel] = {}
        for name, address in targets.items():
            self.open(name, address)

    def open(self, name: str, address: str) -> None:
        """Open the channels of one more service."""
        self._channels[name] = [
            open_channel(address, self._settings, self._retried) for _ in range(self._each)
        ]
        self._once[name] = open_channel(address, self._settings)

    def unary(
        self, target: str, method: str, answer: type[Answer], *, once: bool = False
    ) -> UnaryCall[Answer]:
        """The unary `method` of the service `target`; `once`, where waiting is worse than none."""
        channels = (self._once[target],) if once else self._channels[target]
        return UnaryCall(channels, method, answer)

    async def unready(self, names: Iterable[str], seconds: float) -> tuple[str, ...]:
        """Those of the services that do not say within `seconds` that they serve."""
        asked = tuple(names)
        states = await asyncio.gather(*(self._serves(name, seconds) for name in asked))
        return tuple(name for name, serves in zip(asked, states, strict=True) if not serves)

    async def _serves(self, name: str, seconds: float) -> bool:
        check = self.unary(name, _HEALTH, health_pb2.HealthCheckResponse, once=True)
        try:
            state = await check(health_pb2.HealthCheckRequest(), seconds, ())
        except grpc.aio.AioRpcError:
            return False
        return bool(state.status == health_pb2.HealthCheckResponse.SERVING)

    async def close(self, grace_seconds: float | None = None) -> None:
        """Close all channels; calls in flight have `grace_seconds` to finish."""
        for channel in itertools.chain(self._once.values(), *self._channels.values()):
            await channel.close(grace_seconds)


def _serialize(message: Message) -> bytes:
    return message.SerializeToString()
