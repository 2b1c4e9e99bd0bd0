"""Builds a service's server: its servicers behind the one chain, health, reflection, drain."""

import asyncio
import ipaddress
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

import grpc
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message_factory import GetMessageClass

# These two ship no types.
from grpc_health.v1 import health, health_pb2, health_pb2_grpc  # type: ignore[import-untyped]
from grpc_reflection.v1alpha import (  # type: ignore[import-untyped]
    reflection,
    reflection_pb2_grpc,
)

from chassis.chain import Chain, Limits, Method, Next, Shape, entrance, streaming, unary
from chassis.identity import Identifies, Scope
from chassis.limits import Limit
from chassis.logs import AccessLog, logger
from chassis.metrics import IN_FLIGHT, MetricsEndpoint
from chassis.refusals import MethodNotServed
from chassis.settings import ServiceSettings, WrongSettings

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"

Servicer = tuple[Callable[[Any, Any], None], object, str]
"""The generated `add_…_to_server`, the servicer, and the service's full name."""

HEALTH: Final = "grpc.health.v1.Health"
REFLECTION: Final = "grpc.reflection.v1alpha.ServerReflection"

_OPEN_STREAMS_MAX = 64
_NOTICE_SECONDS = 0.02
# Above this grpc itself refuses, and cannot say why as we do.
_TRANSPORT_SLACK = 2
_LOGGED = ("program", "member", "request_id", "posting")


class PortTaken(OSError):
    """The address cannot be listened on."""


class Server:
    """A service's server. `start` once, `stop` once."""

    def __init__(
        self,
        name: str,
        servicers: Sequence[Servicer],
        chain: Chain,
        interceptor: "ChainInterceptor",
        settings: ServiceSettings,
        port: int,
        health_names: Sequence[str],
    ) -> None:
        self.name = name
        self.port = port
        self.metrics_port: int | None = None
        self._servicers = servicers
        self._chain = chain
        self._interceptor = interceptor
        self._settings = settings
        self._health = health.aio.HealthServicer()
        self._health_names = health_names
        self._server: grpc.aio.Server | None = None
        self._metrics: MetricsEndpoint | None = None

    async def start(self) -> int:
        """Listen and answer the port. `PortTaken` where the address is not free."""
        server = grpc.aio.server(interceptors=[self._interceptor], options=_options(self._settings))
        try:
            await self._serve(server)
        except BaseException:
            # A server that is dropped without being stopped cleans up on a loop that may be gone.
            await server.stop(None)
            raise
        self._server = server
        logger("server").info("serving", host=self._settings.host, port=self.port)
        return self.port

    async def _serve(self, server: grpc.aio.Server) -> None:
        for add, servicer, _ in self._servicers:
            add(servicer, server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        names = sorted({service for _, _, service in self._servicers})
        reflected = reflection.aio.ReflectionServicer([*names, HEALTH, REFLECTION])
        reflection_pb2_grpc.add_ServerReflectionServicer_to_server(reflected, server)
        self.port = _listen(server, self._settings, self.name, self.port)
        for service in (*names, *self._health_names):
            await self._health.set(service, health_pb2.HealthCheckResponse.SERVING)
        if self._settings.metrics_port is not None:
            self._metrics = MetricsEndpoint(
                self._settings.metrics_port, self._settings.metrics_host
            )
            self.metrics_port = self._metrics.port
        await server.start()

    async def set_serving(self, serving: bool, service: str = "") -> None:
        """Say by the health service whether `service` (all of them: "") can be called."""
        states = health_pb2.HealthCheckResponse
        await self._health.set(service, states.SERVING if serving else states.NOT_SERVING)

    async def stop(self) -> None:
        """Drain: say NOT_SERVING, end the streams, accept nothing new, finish what is in flight."""
        if self._server is None:
            return
        server, self._server = self._server, None
        logger("server").info("draining", in_flight=self._chain.limits.unary.now)
        await self._health.enter_graceful_shutdown()
        # Whoever watches health hears it before the streams end, that one included.
        await asyncio.sleep(_NOTICE_SECONDS)
        self._interceptor.drain()
        await server.stop(self._settings.drain_seconds)
        self._chain.access_log.flush()
        if self._metrics is not None:
            await asyncio.to_thread(self._metrics.close)
        logger("server").info("stopped")


def build_server(
    *,
    name: str,
    servicers: Sequence[Servicer],
    scopes: Mapping[str, Scope | str],
    verifier: Identifies,
    settings: ServiceSettings,
    port: int = 0,
    extra_health: Sequence[str] = (),
    shapes: Mapping[str, Shape] | None = None,
) -> Server:
    """A server named `name` that serves the servicers behind the chain.

    `scopes` says for every full method name (`/package.Service/Method`) who may call it; a method
    that is missing there is denied to everybody. `shapes` adds rules that annotations cannot say.
    `extra_health` are further names that the health service answers for. `port` 0 takes a free one.
    """
    table = {
        method: Scope(scope) if isinstance(scope, str) else scope
        for method, scope in scopes.items()
    }
    limits = Limits(
        unary=Limit(settings.max_in_flight),
        streams=Limit(settings.max_streams),
        open_streams=Limit(_OPEN_STREAMS_MAX),
        default_deadline_seconds=settings.default_deadline_seconds,
        max_message_bytes=settings.max_message_bytes,
        access_log_sample=settings.access_log_sample,
    )
    IN_FLIGHT.labels(name, "unary").set_function(lambda: limits.unary.now)
    IN_FLIGHT.labels(name, "stream").set_function(lambda: limits.streams.now)
    methods = {
        described.name: described
        for _, _, service in servicers
        for described in _methods(name, service, table, shapes or {})
    }
    methods |= {each.name: each for each in _methods(name, HEALTH, {}, {}, is_open=True)}
    methods |= {each.name: each for each in _methods(name, REFLECTION, {}, {}, any_scope=True)}
    interceptor = ChainInterceptor(name, methods)
    chain = Chain(verifier, limits, lambda: interceptor.draining, AccessLog())
    interceptor.chain = chain
    return Server(name, servicers, chain, interceptor, settings, port, extra_health)


class ChainInterceptor(grpc.aio.ServerInterceptor):
    """Puts the chain before every handler; each method's is composed on its first call."""

    chain: Chain

    def __init__(self, name: str, methods: Mapping[str, Method]) -> None:
        self._methods = methods
        self._handlers: dict[str, Handler] = {}
        # The method that is not served goes through the chain, too: a stranger learns nothing.
        self._unknown = Method(name, "unknown", any_scope=True)
        self._streams: set[asyncio.Task[Any]] = set()
        self.draining = False

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable["Handler | None"]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        """The handler of the method with the chain before it."""
        name = handler_call_details.method
        ready = self._handlers.get(name)
        if ready is not None:
            return ready
        handler = await continuation(handler_call_details)
        method = self._methods.get(name)
        if handler is None or method is None:
            if self._unknown.name not in self._handlers:
                self._handlers[self._unknown.name] = self._compose_unknown()
            return self._handlers[self._unknown.name]
        self._handlers[name] = composed = self._compose(method, handler)
        return composed

    def drain(self) -> None:
        """End the open streams; their callers go on elsewhere from their cursors."""
        self.draining = True
        for task in self._streams:
            task.cancel()

    def _compose(self, method: Method, handler: Handler) -> Handler:
        kinds: Any = handler
        behaviour = (
            kinds.unary_unary or kinds.unary_stream or kinds.stream_unary or kinds.stream_stream
        )
        write: Any = handler.response_serializer
        if not handler.response_streaming:
            enter = entrance(method, self.chain.compose(method, unary(behaviour, write)))
            return grpc.unary_unary_rpc_method_handler(enter)
        enter = entrance(method, self._tracked(self.chain.compose(method, streaming(behaviour))))
        if not handler.request_streaming:
            return grpc.unary_stream_rpc_method_handler(enter, None, write)
        read: Any = handler.request_deserializer
        return grpc.stream_stream_rpc_method_handler(enter, read, write)

    def _compose_unknown(self) -> Handler:
        async def refuse(_call: Any, _request: Any) -> Any:
            raise MethodNotServed

        enter = entrance(self._unknown, self.chain.compose(self._unknown, refuse))
        return grpc.unary_unary_rpc_method_handler(enter)

    def _tracked(self, chain: Next) -> Next:
        """A stream's chain, known while it runs, so that a drain can end it."""

        async def run(call: Any, request: Any) -> Any:
            task = asyncio.current_task()
            assert task is not None
            self._streams.add(task)
            try:
                return await chain(call, request)
            finally:
                self._streams.discard(task)

        return run


def _methods(
    server: str,
    service: str,
    scopes: Mapping[str, Scope],
    shapes: Mapping[str, Shape],
    *,
    is_open: bool = False,
    any_scope: bool = False,
) -> list[Method]:
    """What the chain must know of a service's methods, from its descriptor and the tables."""
    found: list[MethodDescriptor] = list(
        descriptor_pool.Default().FindServiceByName(service).methods
    )
    methods = []
    for each in found:
        name = f"/{service}/{each.name}"
        scope = scopes.get(name)
        fields = each.input_type.fields_by_name
        if scope is not None and scope.member and not {"program", "member"} <= set(fields):
            raise ValueError(f"{name} is open to members and names no program and member")
        if each.client_streaming and not any_scope:
            raise ValueError(f"{name} takes a stream; requests here are single messages")
        methods.append(
            Method(
                server,
                name,
                scope=scope,
                open=is_open,
                any_scope=any_scope,
                streams=each.server_streaming,
                read=None if each.client_streaming else GetMessageClass(each.input_type).FromString,
                shape=shapes.get(name),
                logged=tuple(field for field in _LOGGED if field in fields),
            )
        )
    return methods


def _options(settings: ServiceSettings) -> list[tuple[str, int]]:
    keepalive_ms = int(settings.keepalive_seconds * 1000)
    return [
        # On by default in grpc: a second instance would silently take half of the calls.
        ("grpc.so_reuseport", int(settings.reuse_port)),
        ("grpc.max_receive_message_length", settings.max_message_bytes * _TRANSPORT_SLACK),
        ("grpc.max_send_message_length", -1),
        ("grpc.max_concurrent_streams", 4 * (settings.max_in_flight + settings.max_streams)),
        ("grpc.keepalive_time_ms", keepalive_ms),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
        ("grpc.keepalive_permit_without_calls", 1),
    ]


def _listen(server: grpc.aio.Server, settings: ServiceSettings, name: str, port: int) -> int:
    address = f"[{settings.host}]:{port}" if ":" in settings.host else f"{settings.host}:{port}"
    credentials = _credentials(settings)
    if credentials is None and not _plaintext_allowed(settings, name):
        raise WrongSettings(
            f"{name} would serve without TLS on {settings.host}: give certificates, listen on "
            f"loopback, or name {name} in LOYALTY_ALLOW_PLAINTEXT"
        )
    try:
        if credentials is None:
            return server.add_insecure_port(address)
        return server.add_secure_port(address, credentials)
    except RuntimeError as error:
        raise PortTaken(f"{name} cannot listen on {address}: is the port taken?") from error


def _plaintext_allowed(settings: ServiceSettings, name: str) -> bool:
    if name in (each.strip() for each in settings.allow_plaintext.split(",")):
        return True
    if settings.host == "localhost":
        return True
    try:
        return ipaddress.ip_address(settings.host).is_loopback
    except ValueError:
        return False


def _credentials(settings: ServiceSettings) -> grpc.ServerCredentials | None:
    paths = (settings.tls_key_path, settings.tls_certificate_path, settings.tls_ca_path)
    if paths[0] is None or paths[1] is None or paths[2] is None:
        return None
    key, certificate, authority = (path.read_bytes() for path in paths if path is not None)
    return grpc.ssl_server_credentials(
        [(key, certificate)], root_certificates=authority, require_client_auth=True
    )
