"""The HTTP interface as an ASGI application: admits, transcodes, calls, answers."""

import asyncio
import re
import time
import uuid
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass
from typing import Any

import grpc.aio
from google.protobuf.message import Message

from chassis.identity import Identity
from chassis.logs import logger
from chassis.refusals import (
    DeadlinePassed,
    MessageTooLarge,
    Overloaded,
    QuotaExceeded,
    RouteNotFound,
    ScopeMissing,
)
from chassis.tracing import HEADER as TRACE_HEADER
from chassis.tracing import Trace, begin_trace
from kernel.refusals import FieldViolation, InvalidField, Refusal
from services.gateway.domain.paths import MalformedPath
from services.gateway.domain.quota import Quota
from services.gateway.http.catalogue import OWN
from services.gateway.http.jsonwrite import write_json
from services.gateway.http.meters import Answered, Meter
from services.gateway.http.problems import (
    MEDIA_TYPE,
    Problem,
    problem_of_error,
    problem_of_refusal,
)
from services.gateway.http.routes import Route, retried, table_of
from services.gateway.http.transcode import read_request
from services.gateway.operations.admit import Credentials
from services.gateway.peers.channels import Channels, UnaryCall

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

_JSON = b"application/json"
_PROBLEM = MEDIA_TYPE.encode()
_SECONDS = re.compile(r"[0-9]{1,6}(\.[0-9]{1,6})?")
# Reading or writing more than this takes long enough to do it beside the event loop.
_LARGE_BYTES = 64 * 1024
_HEADERS = {
    b"authorization": "authorization",
    b"idempotency-key": "idempotency_key",
    b"traceparent": "traceparent",
    b"x-request-timeout": "timeout",
    b"content-length": "content_length",
    b"transfer-encoding": "transfer_encoding",
}


class MemberConfined(Refusal):
    """A member's token was used elsewhere than on the member's own routes, or the reverse."""

    reason = "SCOPE_MISSING"

    def __init__(self) -> None:
        super().__init__("a member's token reaches only /v1/me")


class _Disconnected(Exception):
    """The caller went away; there is nobody to answer."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one call may take: seconds by default and at most, and bytes of a body.

    `in_flight` calls are worked on at once; one more is refused.
    """

    default_seconds: float
    most_seconds: float
    body_bytes: int
    in_flight: int


@dataclass(slots=True)
class _Head:
    """The headers that are read, decoded; None where they are missing."""

    authorization: str | None = None
    idempotency_key: str | None = None
    traceparent: str | None = None
    timeout: str | None = None
    content_length: str | None = None
    transfer_encoding: str | None = None
    repeated: str = ""


class Gateway:
    """Serves the routes under `/v1/`; everything else is `pages`."""

    def __init__(
        self,
        *,
        routes: Iterable[Route],
        credentials: Credentials,
        channels: Channels,
        quota: Quota,
        limits: Limits,
        pages: Application,
        access_log_sample: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        routes = tuple(routes)
        self._table = table_of(routes)
        self._calls: dict[Route, UnaryCall[Message]] = {
            route: channels.unary(route.target, route.full_method, route.response)
            for route in routes
        }
        self._credentials = credentials
        self._quota = quota
        self._limits = limits
        self._pages = pages
        self._meter = Meter(access_log_sample)
        self._clock = clock
        self._in_flight = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http" or not scope["path"].startswith("/v1/"):
            await self._pages(scope, receive, send)
            return
        began = self._clock()
        head = _read_head(scope["headers"])
        trace = begin_trace(head.traceparent)
        answered = Answered(scope["method"], trace)
        extra: tuple[tuple[bytes, bytes], ...] = ()
        self._in_flight += 1
        try:
            status, media = 200, _JSON
            body = await self._answer(scope, receive, head, trace, answered)
        except _Disconnected:
            return
        except Exception as error:  # noqa: BLE001 - whatever broke, the caller learns an id only
            problem = _problem(error, answered)
            status, media = problem.status, _PROBLEM
            body = problem.body(trace.trace_id)
            answered.reason = problem.reason
            extra = _problem_headers(problem)
        finally:
            self._in_flight -= 1
        if scope["method"] == "HEAD":
            await _send(send, status, media, body, trace, extra, silent=True)
        else:
            await _send(send, status, media, body, trace, extra)
        self._meter.count(answered, status, began, self._clock())

    def flush(self) -> None:
        """Write the log lines that have gathered."""
        self._meter.flush()

    async def _answer(
        self, scope: Scope, receive: Receive, head: _Head, trace: Trace, answered: Answered
    ) -> bytes:
        if self._in_flight > self._limits.in_flight:
            raise Overloaded
        if head.repeated:
            raise _invalid(head.repeated, "is given twice")
        admission = self._credentials.admit(head.authorization)
        wait = self._quota.take(_owner(admission.identity), self._clock())
        if wait > 0:
            raise QuotaExceeded(max(1, int(self._quota.rate)), max(1, int(wait + 0.999)))
        route, values = self._find(scope)
        answered.route = route
        values = _confined(route, values, admission.identity)
        seconds = self._seconds(head.timeout, route)
        deadline = self._clock() + seconds
        body = await self._read_body(head, receive, seconds)
        arguments = (route, values, scope["query_string"], body, head.idempotency_key)
        if len(body) > _LARGE_BYTES:
            request = await asyncio.to_thread(read_request, *arguments)
        else:
            request = read_request(*arguments)
        # The gateway's own services read the credential itself: its expiry bounds what they issue.
        authorization = (
            f"Bearer {(head.authorization or '').partition(' ')[2].strip()}"
            if route.target == OWN
            else admission.authorization
        )
        metadata = (("authorization", authorization), (TRACE_HEADER, trace.header()))
        remaining = deadline - self._clock()
        if remaining <= 0:
            raise DeadlinePassed
        answer = await self._calls[route](request, remaining, metadata)
        if answer.ByteSize() > _LARGE_BYTES:
            return await asyncio.to_thread(write_json, answer)
        return write_json(answer)

    def _find(self, scope: Scope) -> tuple[Route, dict[str, str]]:
        raw: bytes = scope.get("raw_path") or scope["path"].encode()
        method = scope["method"]
        try:
            found = self._table.find("GET" if method == "HEAD" else method, raw.decode("latin-1"))
        except MalformedPath:
            raise _invalid("path", "must be percent-encoded UTF-8") from None
        if found is None:
            raise RouteNotFound
        route, values = found
        return route, dict(zip(route.template.variables, values, strict=True))

    def _seconds(self, timeout: str | None, route: Route) -> float:
        if timeout is None:
            return self._limits.most_seconds if route.is_long else self._limits.default_seconds
        if not _SECONDS.fullmatch(timeout) or float(timeout) <= 0:
            raise _invalid("X-Request-Timeout", "must be a number of seconds above 0")
        return min(float(timeout), self._limits.most_seconds)

    async def _read_body(self, head: _Head, receive: Receive, seconds: float) -> bytes:
        limit = self._limits.body_bytes
        if head.content_length is None and head.transfer_encoding is None:
            return b""
        length = head.content_length or ""
        # A number longer than 18 digits is larger than any limit, and slow to read.
        if length.isdigit() and (len(length) > 18 or int(length) > limit):
            raise MessageTooLarge(limit)
        parts: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(seconds):
                while True:
                    event = await receive()
                    if event["type"] == "http.disconnect":
                        raise _Disconnected
                    part = event.get("body", b"")
                    size += len(part)
                    if size > limit:
                        raise MessageTooLarge(limit)
                    parts.append(part)
                    if not event.get("more_body", False):
                        return b"".join(parts)
        except TimeoutError:
            raise DeadlinePassed from None


def _read_head(headers: Iterable[tuple[bytes, bytes]]) -> _Head:
    head = _Head()
    for name, value in headers:
        slot = _HEADERS.get(name)
        if slot is not None:
            text = value.decode("latin-1").strip()
            if getattr(head, slot) not in {None, text}:
                head.repeated = name.decode("latin-1")
            setattr(head, slot, text)
    return head


def _owner(identity: Identity) -> tuple[str, str, str | None, str | None]:
    """Whose quota a call is: the same for a key and for the tokens made from it."""
    return identity.organization, identity.actor, identity.program, identity.member


def _confined(route: Route, values: dict[str, str], identity: Identity) -> dict[str, str]:
    """The bound fields: on the member's own routes those of the token's claims."""
    if not route.mine:
        if identity.member is not None:
            raise MemberConfined
        return values
    if identity.member is None or identity.program is None:
        raise ScopeMissing("me")
    claims = {"program": identity.program, "member": identity.member}
    return {**values, **{name: claims[name] for name in claims if name in route.bound}}


def _problem(error: Exception, answered: Answered) -> Problem:
    if isinstance(error, Refusal):
        return problem_of_refusal(error)
    if isinstance(error, grpc.aio.AioRpcError):
        target = answered.route.target if answered.route is not None else "a service"
        return problem_of_error(error, target)
    fault_id = uuid.uuid4().hex
    logger("http").error(
        "fault", fault_id=fault_id, trace_id=answered.trace.trace_id, exc_info=error
    )
    return Problem("FAULT", "something broke on our side", {"id": fault_id})


def _problem_headers(problem: Problem) -> tuple[tuple[bytes, bytes], ...]:
    if problem.status == 401:
        return ((b"www-authenticate", b'Bearer realm="loyalty"'),)
    if problem.status == 429:
        wait = problem.metadata.get("retry_after_seconds", "1")
        return ((b"retry-after", wait.encode()),)
    if problem.status == 503:
        return ((b"retry-after", b"1"),)
    return ()


def _invalid(field: str, description: str) -> InvalidField:
    return InvalidField(FieldViolation(field, description))


async def _send(
    send: Send,
    status: int,
    media: bytes,
    body: bytes,
    trace: Trace,
    extra: tuple[tuple[bytes, bytes], ...],
    *,
    silent: bool = False,
) -> None:
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [
                (b"content-type", media),
                (b"content-length", str(len(body)).encode()),
                (b"cache-control", b"no-store"),
                (b"x-content-type-options", b"nosniff"),
                (TRACE_HEADER.encode(), trace.header().encode()),
                *extra,
            ],
        }
    )
    await send({"type": "http.response.body", "body": b"" if silent else body})


def retried_methods(routes: Iterable[Route]) -> frozenset[str]:
    """The methods that may be called again, as gRPC names them."""
    return frozenset(route.full_method for route in routes if retried(route.rpc))
