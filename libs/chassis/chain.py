"""The one chain that every call goes through, in the order in which it stands here.

    log_access          one line a call; the trace begins or goes on
    meter               rates, durations, refusals by reason
    answer_refusals     refusals, broken dependencies and faults become a google.rpc.Status
    identify            the credential and the scope that the method needs
    admit               our own limit of calls at once; what is refused here was not even read
    read_request        bytes become a message; a member's own token reaches only its member
    check_shape         the proto's rules
    set_deadline        the caller's or ours; one that has passed refuses
    handler

Each step is a plain function `(method, next) -> next`, composed once for each method: what is
decided per method is decided there, and a call runs through the closures. There is one interceptor
because grpc.aio pays for each. A step that a method does not need is left out of its chain.
"""

import asyncio
import random
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final

import grpc
from google.protobuf.message import DecodeError, Message
from google.rpc import status_pb2

from chassis import spans, validation
from chassis.call import Call, bind_call
from chassis.faults import dependency_of
from chassis.identity import MEMBER_SCOPE, Identifies, Scope
from chassis.limits import Limit
from chassis.logs import AccessLog, OncePerSecond, logger
from chassis.metrics import MethodMeter
from chassis.refusals import (
    GRPC_CODES,
    STATUS_KEY,
    CredentialInvalid,
    CredentialMissing,
    DeadlinePassed,
    DependencyUnavailable,
    Fault,
    MessageTooLarge,
    Overloaded,
    ScopeMissing,
    UnreadableBody,
    error_info,
    status_of,
    status_of_error,
)
from chassis.tracing import begin_trace
from kernel.refusals import Code, FieldViolation, InvalidField, Refusal

Next = Callable[[Call, Any], Awaitable[Any]]
Shape = Callable[[Any], Iterable[FieldViolation]]
"""A rule of shape that an annotation cannot say: the fields of a request that break it."""

# Picks the lines of the log that are written; guards nothing.
_random = random.random
_STATUS_CODES: Final = {code.value: status for code, status in GRPC_CODES.items()}


@dataclass(frozen=True, slots=True, eq=False)
class Method:
    """What the chain knows of one method. `name` is the full one, with its leading slash.

    `open` methods need no credential; others need `scope`, and where there is none (`None`) nobody
    may call. `any_scope` methods need a credential and no scope. `read` makes a message of bytes;
    None where the request is a stream.
    """

    service: str
    name: str
    scope: Scope | None = None
    open: bool = False
    any_scope: bool = False
    streams: bool = False
    read: Callable[[bytes], Message] | None = None
    shape: Shape | None = None
    logged: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Limits:
    """What a server takes on, and for how long. Seconds, bytes, calls."""

    unary: Limit
    streams: Limit
    open_streams: Limit
    default_deadline_seconds: float
    max_message_bytes: int
    access_log_sample: float


@dataclass(frozen=True, slots=True, eq=False)
class Chain:
    """The steps with what they need; `compose` makes one method's chain."""

    verifier: Identifies
    limits: Limits
    draining: Callable[[], bool]
    access_log: AccessLog

    def compose(self, method: Method, handler: Next) -> Next:
        """The whole chain of one method, outermost step first in the text below."""
        steps = [self._log_access, self._meter, self._answer_refusals]
        if not method.open:
            steps.append(self._identify)
        # A server that is busy is in good health: asking must not be what is refused.
        if method.streams or not method.open:
            steps.append(self._admit)
        if method.read is not None:
            steps += [self._read_request, self._check_shape]
        steps.append(self._set_deadline)
        chain = handler
        for step in reversed(steps):
            chain = step(method, chain)
        return chain

    def _log_access(self, method: Method, following: Next) -> Next:
        write, flood = self.access_log.write, OncePerSecond()
        sample = 0.0 if method.open else self.limits.access_log_sample
        name = method.name
        # A stream's span would last for days, and asking for health is no work.
        spanned = not (method.streams or method.open)

        async def step(call: Call, request: Any) -> Any:
            try:
                return await following(call, request)
            finally:
                if spanned and call.trace.sampled:
                    _tell_span(call, method.service)
                if call.code != "OK" or sample >= 1.0 or _random() < sample:
                    now = time.monotonic()
                    # Refusals of overload come in floods and would add to it: one line a second.
                    held_back = flood.admit(now) if call.reason == "OVERLOADED" else 0
                    if held_back is not None:
                        write(
                            method=name,
                            trace_id=call.trace.trace_id,
                            code=call.code,
                            reason=call.reason,
                            milliseconds=round((now - call.began) * 1000, 3),
                            **({"held_back": held_back} if held_back else {}),
                            **call.fields,
                        )

        return step

    def _meter(self, method: Method, following: Next) -> Next:
        count = MethodMeter(method.service, method.name).count

        async def step(call: Call, request: Any) -> Any:
            try:
                return await following(call, request)
            finally:
                count(time.monotonic() - call.began, call.code, call.reason)

        return step

    def _answer_refusals(self, method: Method, following: Next) -> Next:
        draining = self.draining

        async def step(call: Call, request: Any) -> Any:
            try:
                return await following(call, request)
            except Refusal as refusal:
                status = status_of(refusal)
                # Whoever raised it may hold it: a cycle through the frames of its traceback.
                refusal.__traceback__ = None
            except grpc.aio.AbortError:
                call.code = "ABORTED_BY_HANDLER"
                raise
            except grpc.aio.AioRpcError as error:
                status = status_of_error(error, "a service")
            except Exception as error:  # noqa: BLE001 - whatever broke, the caller learns an id only
                status = status_of(_refusal_for(error, method))
            except BaseException:
                # Cancelled: by the caller, who reads no answer, or by a drain, which ends streams.
                if not draining():
                    call.code = "CANCELLED"
                    raise
                status = status_of(DependencyUnavailable(method.service))
            return await _abort(call, status)

        return step

    def _identify(self, method: Method, following: Next) -> Next:
        identify = self.verifier.identify
        scope, any_scope = method.scope, method.any_scope
        needed = "" if scope is None else scope.name

        async def step(call: Call, request: Any) -> Any:
            if call.authorization is None:
                raise CredentialMissing
            identity, call.credential_expires = identify(call.authorization)
            call.identity = identity
            if identity.member is not None:
                if scope is None or not scope.member or MEMBER_SCOPE not in identity.scopes:
                    raise ScopeMissing(needed)
            elif not any_scope and needed not in identity.scopes:
                raise ScopeMissing(needed)
            return await following(call, request)

        return step

    def _read_request(self, method: Method, following: Next) -> Next:
        read, limit = method.read, self.limits.max_message_bytes
        needed = "" if method.scope is None else method.scope.name
        assert read is not None

        async def step(call: Call, request: bytes) -> Any:
            if len(request) > limit:
                raise MessageTooLarge(limit)
            try:
                message: Any = read(request)
            except DecodeError:
                raise UnreadableBody("the bytes are no message of the method's request") from None
            identity = call.identity
            if (
                identity is not None
                and identity.member is not None
                and (message.program != identity.program or message.member != identity.member)
            ):
                raise ScopeMissing(needed)
            return await following(call, message)

        return step

    def _check_shape(self, method: Method, following: Next) -> Next:
        validate, shape, logged = validation.validate, method.shape, method.logged

        async def step(call: Call, request: Any) -> Any:
            validate(request)
            if shape is not None:
                violations = tuple(shape(request))
                if violations:
                    raise InvalidField(*violations)
            # Only now, because what broke the rules may be anything, of any length.
            for name in logged:
                call.fields[name] = getattr(request, name)
            return await following(call, request)

        return step

    def _set_deadline(self, method: Method, following: Next) -> Next:
        default = None if method.streams else self.limits.default_deadline_seconds

        async def step(call: Call, request: Any) -> Any:
            # A deadline is kept by whoever begins work, never by cancelling what was begun.
            context: Any = call.context
            remaining = context.time_remaining()
            if remaining is None:
                remaining = default
            if remaining is not None:
                if remaining <= 0:
                    raise DeadlinePassed
                call.deadline = time.monotonic() + remaining
            return await following(call, request)

        return step

    def _admit(self, method: Method, following: Next) -> Next:
        limits = self.limits
        if not method.streams:
            limit = limits.unary
        else:
            limit = limits.open_streams if method.open else limits.streams

        async def step(call: Call, request: Any) -> Any:
            if limit.now >= limit.most:
                raise Overloaded
            limit.now += 1
            try:
                return await following(call, request)
            finally:
                limit.now -= 1

        return step


def _refusal_for(error: Exception, method: Method) -> Refusal:
    """A broken dependency, or a fault whose id is in the log beside the traceback."""
    dependency = dependency_of(error)
    if dependency is not None:
        logger("chain").warning(
            "dependency unavailable", method=method.name, dependency=dependency, error=repr(error)
        )
        return DependencyUnavailable(dependency)
    fault_id = uuid.uuid4().hex
    logger("chain").error("fault", method=method.name, fault_id=fault_id, exc_info=error)
    return Fault(fault_id)


def _tell_span(call: Call, service: str) -> None:
    attributes = {
        "rpc.system": "grpc",
        "rpc.method": call.method.lstrip("/"),
        "loyalty.service": service,
        "rpc.response.status_code": call.code,
        **({"loyalty.reason": call.reason} if call.reason else {}),
        **{f"loyalty.{name}": str(value) for name, value in call.fields.items()},
    }
    spans.record(
        call.trace,
        call.method.lstrip("/"),
        time.monotonic() - call.began,
        call.code,
        attributes,
    )


async def _abort(call: Call, status: status_pb2.Status) -> Any:
    info = error_info(status)
    code = _STATUS_CODES.get(status.code, GRPC_CODES[Code.INTERNAL])
    call.code, call.reason = code.name, "" if info is None else info.reason
    try:
        await call.context.abort(code, status.message, ((STATUS_KEY, status.SerializeToString()),))
    except grpc.aio.AbortError:
        raise
    except Exception:  # noqa: BLE001 - grpc has no name for it: the caller has gone meanwhile
        call.code = "CANCELLED"
        raise asyncio.CancelledError from None


def unary(handler: Callable[[Any, Any], Awaitable[Any]], write: Callable[[Any], bytes]) -> Next:
    """The innermost step of a unary method; the answer's bytes are made within the chain."""

    async def run(call: Call, request: Any) -> bytes:
        return write(await handler(request, call.context))

    return run


def streaming(handler: Callable[[Any, Any], Any]) -> Next:
    """The innermost step of a method that answers with a stream.

    The stream ends when the caller's credential does, so that a revoked one does not live on in it.
    """

    async def run(call: Call, request: Any) -> None:
        write = call.context.write
        answers = handler(request, call.context)
        if not isinstance(answers, AsyncIterator):
            await answers
            return
        async with aclosing(answers):  # type: ignore[type-var]
            async for answer in answers:
                if call.identity is not None and time.time() >= call.credential_expires:
                    raise CredentialInvalid
                await write(answer)

    return run


def entrance(method: Method, chain: Next) -> Callable[[Any, Any], Awaitable[Any]]:
    """What grpc calls: makes the call's context of its metadata and enters the chain."""
    name = method.name

    async def enter(request: Any, context: Any) -> Any:
        authorization = parent = None
        twice = False
        for key, value in context.invocation_metadata() or ():
            if key == "authorization":
                twice = authorization is not None
                authorization = value
            elif key == "traceparent":
                parent = value
        if twice:
            # Two credentials are none: whoever checks first would decide who calls.
            authorization = ""
        call = Call(name, context, begin_trace(parent), time.monotonic(), authorization)
        bind_call(call)
        try:
            return await chain(call, request)
        except grpc.aio.AbortError:
            raise
        except Exception:  # noqa: BLE001 - grpc would answer with the text of it
            # Only what stands before `answer_refusals` gets here: a log that cannot be written.
            return await _abort(call, status_of(Fault(uuid.uuid4().hex)))

    return enter
