"""Real aio servers on free loopback ports, and channels to them."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc

from chassis.chain import Shape
from chassis.identity import Scope, TokenVerifier
from chassis.server import Server, Servicer, build_server
from chassis.settings import ServiceSettings
from testkit import keys
from testkit.keys import metadata, token

__all__ = ["authorized_channel", "metadata", "running", "serving", "settings", "token"]


def settings(**changes: Any) -> ServiceSettings:
    """Settings for tests: quick to drain, and nothing of the environment that tests rest on."""
    return ServiceSettings(**{"drain_seconds": 5.0, "host": "127.0.0.1", **changes})


@asynccontextmanager
async def running(server: Server) -> AsyncIterator[int]:
    """Start a server, answer its port, and stop it at the end."""
    port = await server.start()
    try:
        yield port
    finally:
        await server.stop()


@asynccontextmanager
async def serving(
    *servicers: Servicer,
    scopes: Mapping[str, Scope | str],
    verifier: TokenVerifier | None = None,
    shapes: Mapping[str, Shape] | None = None,
    name: str = "test",
    **changes: Any,
) -> AsyncIterator[tuple[Server, grpc.aio.Channel]]:
    """Serve the servicers behind the real chain, with a plain channel to them.

    `changes` are settings. Calls on the channel need `metadata=metadata(token(...))`.
    """
    server = build_server(
        name=name,
        servicers=servicers,
        scopes=scopes,
        verifier=verifier or keys.verifier(),
        settings=settings(**changes),
        shapes=shapes,
    )
    async with running(server) as port, grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield server, channel


def authorized_channel(port: int, signed: str | None = None) -> grpc.aio.Channel:
    """A channel to a loopback port whose every call carries a token, `token()` by default."""
    credential = metadata(signed)
    interceptors: Sequence[grpc.aio.ClientInterceptor] = (
        _AddsToUnary(credential),
        _AddsToStream(credential),
    )
    return grpc.aio.insecure_channel(f"127.0.0.1:{port}", interceptors=interceptors)


class _Adds:
    def __init__(self, credential: tuple[tuple[str, str], ...]) -> None:
        self._credential = credential

    def _with_credential(self, details: Any) -> Any:
        given = tuple(details.metadata or ())
        if any(key == "authorization" for key, _ in given):
            return details
        return details._replace(metadata=grpc.aio.Metadata(*given, *self._credential))


class _AddsToUnary(_Adds, grpc.aio.UnaryUnaryClientInterceptor):
    async def intercept_unary_unary(
        self, continuation: Any, client_call_details: Any, request: Any
    ) -> Any:
        return await continuation(self._with_credential(client_call_details), request)


class _AddsToStream(_Adds, grpc.aio.UnaryStreamClientInterceptor):
    async def intercept_unary_stream(
        self, continuation: Any, client_call_details: Any, request: Any
    ) -> Any:
        return await continuation(self._with_credential(client_call_details), request)
