"""Runs the gateway: reads the settings, builds everything, serves until it is told to stop."""

import asyncio
import contextlib
import ipaddress
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast

import uvicorn

from chassis import logs
from chassis.identity import TokenIssuer, read_issuer, read_verifier
from chassis.serve import run_service
from chassis.server import PortTaken, Server, build_server
from loyalty.gateway.v1.credential_pb2_grpc import add_CredentialServiceServicer_to_server
from loyalty.gateway.v1.profile_pb2_grpc import add_ProfileServiceServicer_to_server
from services.gateway.domain.quota import Quota
from services.gateway.http.app import Application, Gateway, Limits, retried_methods
from services.gateway.http.catalogue import EXPOSED, OWN
from services.gateway.http.comments import comments
from services.gateway.http.cors import with_cors
from services.gateway.http.openapi import describe
from services.gateway.http.pages import openapi_bytes, pages
from services.gateway.http.routes import routes_of
from services.gateway.operations.admit import Credentials
from services.gateway.operations.advance_clock import AdvanceClock
from services.gateway.operations.issue_token import IssueToken
from services.gateway.peers.audience import Audience
from services.gateway.peers.channels import Channels
from services.gateway.peers.clocks import RETRIED, Clocks
from services.gateway.peers.ledger import Ledger
from services.gateway.peers.tiers import Tiers
from services.gateway.rpc.clock import SERVICE, ClockServicer, add_clock_to_server
from services.gateway.rpc.credential import CredentialServicer
from services.gateway.rpc.profile import ProfileServicer
from services.gateway.rpc.scopes import SCOPES
from services.gateway.settings import GatewaySettings
from services.gateway.store.credentials import CredentialsFile

VERSION = "0.1.0"
_READY_SECONDS = 1.0
_KEEP_ALIVE_SECONDS = 30
_BACKLOG = 2048


@dataclass(frozen=True, slots=True)
class Ports:
    """Where a started gateway listens."""

    http: int
    grpc: int


def read_credentials(settings: GatewaySettings) -> tuple[Credentials, TokenIssuer]:
    """Who may call, and the issuer of tokens, from the files that the settings name."""
    issuer = read_issuer(settings.signing_path)
    credentials = Credentials(
        read_verifier(settings.jwks_path),
        issuer,
        CredentialsFile(settings.credentials_path, time.monotonic),
        lifetime_seconds=settings.token_lifetime_seconds,
    )
    return credentials, issuer


def open_channels(settings: GatewaySettings) -> Channels:
    """Channels to the other services."""
    retried = retried_methods(routes_of(EXPOSED)) | RETRIED
    return Channels(settings.targets(), settings, retried, each=settings.channels_each)


def build(
    settings: GatewaySettings, channels: Channels, credentials: Credentials, issuer: TokenIssuer
) -> Server:
    """The gateway's own gRPC server, not started."""
    profile = ProfileServicer(
        Ledger(channels),
        Tiers(channels),
        Audience(channels),
        credentials,
        settings.profile_part_seconds,
    )
    clock = ClockServicer(
        AdvanceClock(Clocks(channels)), credentials, settings.request_timeout_seconds_max
    )
    return build_server(
        name="gateway",
        servicers=[
            (
                add_ProfileServiceServicer_to_server,
                profile,
                "loyalty.gateway.v1.ProfileService",
            ),
            (
                add_CredentialServiceServicer_to_server,
                CredentialServicer(IssueToken(issuer)),
                "loyalty.gateway.v1.CredentialService",
            ),
            (add_clock_to_server, clock, SERVICE),
        ],
        scopes=SCOPES,
        verifier=credentials,
        settings=settings,
        port=settings.gateway_port,
    )


def build_http(settings: GatewaySettings, channels: Channels, credentials: Credentials) -> Gateway:
    """The HTTP interface. The channels to the gateway's own services are open already."""
    routes = tuple(routes_of(EXPOSED))

    async def unready() -> tuple[str, ...]:
        return await channels.unready(settings.targets(), _READY_SECONDS)

    return Gateway(
        routes=routes,
        credentials=credentials,
        channels=channels,
        quota=Quota(settings.quota_rate, settings.quota_burst),
        limits=Limits(
            default_seconds=settings.request_timeout_seconds,
            most_seconds=settings.request_timeout_seconds_max,
            body_bytes=settings.body_bytes_max,
            in_flight=settings.max_in_flight,
        ),
        pages=pages(openapi_bytes(describe(routes, comments(), VERSION)), unready),
        access_log_sample=settings.access_log_sample,
    )


class _HttpServer(uvicorn.Server):
    """uvicorn without its signal handlers: the process has its own."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


@asynccontextmanager
async def running(settings: GatewaySettings) -> AsyncIterator[Ports]:
    """A gateway that serves while the context lasts, and drains at its end."""
    credentials, issuer = read_credentials(settings)
    listener = _listen(settings)
    channels = open_channels(settings)
    server = build(settings, channels, credentials, issuer)
    try:
        grpc_port = await server.start()
        channels.open(OWN, _own_address(settings.host, grpc_port))
        gateway = build_http(settings, channels, credentials)
        application = with_cors(gateway, settings.allowed_origins())
        http = _HttpServer(_config(application, settings))
        task = asyncio.create_task(http.serve(sockets=[listener]))
        try:
            yield Ports(http=listener.getsockname()[1], grpc=grpc_port)
        finally:
            http.should_exit = True
            await task
            gateway.flush()
    finally:
        listener.close()
        await server.stop()
        await channels.close()


def _own_address(host: str, port: int) -> str:
    """Where this process reaches its own gRPC port."""
    if host != "localhost" and not ipaddress.ip_address(host).is_unspecified:
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return f"127.0.0.1:{port}"


def _config(application: Application, settings: GatewaySettings) -> uvicorn.Config:
    return uvicorn.Config(
        cast("Any", application),
        loop="none",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        # Front ends show no certificates of their own, unlike services.
        ssl_certfile=settings.tls_certificate_path,
        ssl_keyfile=settings.tls_key_path,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=max(1, int(settings.drain_seconds)),
    )


def _listen(settings: GatewaySettings) -> socket.socket:
    """The HTTP interface's socket. It listens before the process says that it serves."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    # With the protocol named, or asyncio leaves Nagle's algorithm on and every answer waits 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if settings.reuse_port:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        listener.bind((settings.host, settings.http_port))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise PortTaken(
            f"the gateway cannot listen on {settings.host}:{settings.http_port}:"
            f" {error.strerror} (LOYALTY_HTTP_PORT)"
        ) from error
    listener.setblocking(False)
    return listener


async def serve(settings: GatewaySettings, stopping: asyncio.Event) -> None:
    """Serve until told to stop, then drain."""
    async with running(settings) as ports:
        logs.logger("gateway").info("serving http", host=settings.host, port=ports.http)
        await stopping.wait()


if __name__ == "__main__":
    run_service("gateway", GatewaySettings, serve)
