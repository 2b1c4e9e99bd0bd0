"""Channels to the services: a few for each, kept alive, with retries where they do no harm."""

import asyncio
import itertools
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import grpc
import grpc.aio
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2  # type: ignore[import-untyped]  # ships no types

Answer = TypeVar("Answer", bound=Message)
Metadata = tuple[tuple[str, str], ...]

_HEALTH = "/grpc.health.v1.Health/Check"
_RETRY = {
    "maxAttempts": 4,
    "initialBackoff": "0.05s",
    "maxBackoff": "0.5s",
    "backoffMultiplier": 2.0,
    "retryableStatusCodes": ["UNAVAILABLE"],
}


@dataclass(frozen=True, slots=True)
class Certificates:
    """Files of mutual TLS: this process's chain and key, and the authority (all PEM)."""

    chain: Path
    key: Path
    authority: Path

    def credentials(self) -> grpc.ChannelCredentials:
        """Credentials of a channel that presents the chain."""
        return grpc.ssl_channel_credentials(
            root_certificates=self.authority.read_bytes(),
            private_key=self.key.read_bytes(),
            certificate_chain=self.chain.read_bytes(),
        )


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

    `targets` are addresses by name; `retried` are the methods, as `/package.Service/Method`, that
    are called again when the answer was UNAVAILABLE. Each service has one more channel for calls
    that are made once whatever is answered.
    """

    def __init__(
        self,
        targets: Mapping[str, str],
        retried: Iterable[str],
        *,
        each: int = 2,
        keepalive_seconds: float = 30.0,
        max_message_bytes: int = 16 * 1024 * 1024,
        certificates: Certificates | None = None,
    ) -> None:
        self._options = _options(retried, keepalive_seconds, max_message_bytes)
        self._once_options = _options((), keepalive_seconds, max_message_bytes)
        self._credentials = certificates.credentials() if certificates is not None else None
        self._each = each
        self._channels: dict[str, list[grpc.aio.Channel]] = {}
        self._once: dict[str, grpc.aio.Channel] = {}
        for name, address in targets.items():
            self.open(name, address)

    def open(self, name: str, address: str) -> None:
        """Open the channels of one more service."""
        self._channels[name] = [self._open(address, self._options) for _ in range(self._each)]
        self._once[name] = self._open(address, self._once_options)

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

    def _open(self, address: str, options: list[tuple[str, Any]]) -> grpc.aio.Channel:
        if self._credentials is not None:
            return grpc.aio.secure_channel(address, self._credentials, options=options)
        return grpc.aio.insecure_channel(address, options=options)

    async def close(self, grace_seconds: float | None = None) -> None:
        """Close all channels; calls in flight have `grace_seconds` to finish."""
        for channel in itertools.chain(self._once.values(), *self._channels.values()):
            await channel.close(grace_seconds)


def _options(
    retried: Iterable[str], keepalive_seconds: float, max_message_bytes: int
) -> list[tuple[str, Any]]:
    names = []
    for method in sorted(retried):
        service, _, name = method.removeprefix("/").partition("/")
        names.append({"service": service, "method": name})
    config = {"methodConfig": [{"name": names, "retryPolicy": _RETRY}]} if names else {}
    return [
        # An HTTP proxy of the environment is not meant for our own services.
        ("grpc.enable_http_proxy", 0),
        ("grpc.service_config", json.dumps(config)),
        # Each channel is a connection of its own, so that several workers of a service share them.
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.keepalive_time_ms", int(keepalive_seconds * 1000)),
        ("grpc.keepalive_timeout_ms", 10_000),
        # A service that comes back is found within a second, not within two minutes.
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 1_000),
        ("grpc.max_reconnect_backoff_ms", 1_000),
        ("grpc.max_receive_message_length", max_message_bytes),
        ("grpc.max_send_message_length", max_message_bytes),
    ]


def _serialize(message: Message) -> bytes:
    return message.SerializeToString()
