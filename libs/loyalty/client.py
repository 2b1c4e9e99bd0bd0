"""Clients of the loyalty suite: any generated stub, with what a careful caller would add to it.

    with Client.from_environment() as client:
        ledger = client.stub(LedgerServiceStub)
        answer = ledger.Earn(EarnRequest(program="sample", member="m-1", points=250))

A client finds the service of a stub, sends a credential (and renews the token of an API key), sets
a deadline, makes request ids, sends again what may succeed later, and raises `LoyaltyRefusal` where
a rule said no. What is not a refusal stays `grpc.RpcError`. `AsyncClient` is the same for asyncio.
"""

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self, TypeVar

import grpc
from google.protobuf.message import Message

from loyalty.aio import AsyncClient
from loyalty.calls import (
    ApiKey,
    Credential,
    Lease,
    LoyaltyRefusal,
    Options,
    RetryPolicy,
    Token,
    addresses_of,
    credential_of,
    fill_request_ids,
    is_worth_waiting,
    new_request_id,
    options_of,
    refusal_of_metadata,
    refusal_of_status,
    service_of,
)
from loyalty.gateway.v1 import credential_pb2, credential_pb2_grpc

__all__ = [
    "ApiKey",
    "AsyncClient",
    "Client",
    "Credential",
    "LoyaltyRefusal",
    "Options",
    "RetryPolicy",
    "Token",
    "addresses_of",
    "credential_of",
    "new_request_id",
    "options_of",
    "refusal_of_error",
    "refusal_of_status",
]

Stub = TypeVar("Stub")
Metadata = tuple[tuple[str, str | bytes], ...]


def refusal_of_error(error: BaseException) -> LoyaltyRefusal | None:
    """The refusal in an error of gRPC; None where the call failed otherwise."""
    trailing = getattr(error, "trailing_metadata", None)
    return refusal_of_metadata(trailing()) if callable(trailing) else None


class Client:
    """A synchronous client of all services; safe to share between threads.

    `open_channel` makes the channel of an address and `clock` answers seconds since the epoch:
    tests hand in their own. Close it, or use it as a context manager.
    """

    def __init__(
        self,
        options: Options,
        credential: Credential,
        *,
        open_channel: Callable[[str], grpc.Channel] | None = None,
        clock: Callable[[], float] = time.time,
        make_request_id: Callable[[], str] = new_request_id,
    ) -> None:
        self._options = options
        self._credential = credential
        self._open_channel = open_channel or self._connect
        self._clock = clock
        self._make_request_id = make_request_id
        self._channels: dict[str, grpc.Channel] = {}
        self._lock = threading.Lock()
        self._renewing = threading.Lock()
        self._lease: Lease | None = None

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> "Client":
        """A client as the environment describes it; see the table in the README."""
        values = os.environ if environ is None else environ
        return cls(options_of(values), credential_of(values))

    def stub(self, kind: Callable[[grpc.Channel], Stub], service: str | None = None) -> Stub:
        """A generated stub on this client. `service` is needed for `loyalty.common` only."""
        return kind(_Channel(self, self._channel(service or service_of(kind))))

    def token(self) -> str:
        """A token that is alive, renewed where it is time.

        A gateway that cannot be reached is no reason to fail while the last token lives.
        """
        if isinstance(self._credential, Token):
            return self._credential.token
        with self._renewing:
            now = self._clock()
            lease = self._lease
            if lease is not None and now < lease.renew_seconds:
                return lease.token
            try:
                response = self._issue(self._credential.key)
            except grpc.RpcError as error:
                code = getattr(error, "code", lambda: None)()
                if lease is not None and now < lease.expire_seconds and is_worth_waiting(code):
                    return lease.token
                raise
            self._lease = Lease.of(response, now)
            return self._lease.token

    def close(self) -> None:
        """Close all channels; calls that run are cancelled."""
        with self._lock:
            for channel in self._channels.values():
                channel.close()
            self._channels.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def prepare(
        self, request: Message, timeout: float | None, metadata: Metadata | None
    ) -> tuple[float, Metadata]:
        """What every unary call gets: a request id, a deadline in seconds, and a credential."""
        fill_request_ids(request, self._make_request_id)
        return (
            self._options.deadline_seconds if timeout is None else timeout,
            self.authorize(metadata),
        )

    def authorize(self, metadata: Metadata | None) -> Metadata:
        """The caller's metadata and the credential, unless the caller gave one."""
        given = tuple(metadata or ())
        if any(key == "authorization" for key, _ in given):
            return given
        return (*given, ("authorization", f"Bearer {self.token()}"))

    def _issue(self, key: str) -> credential_pb2.IssueTokenResponse:
        stub = credential_pb2_grpc.CredentialServiceStub(self._channel("gateway"))
        metadata = (("authorization", f"Bearer {key}"),)
        try:
            return stub.IssueToken(
                credential_pb2.IssueTokenRequest(),
                timeout=self._options.deadline_seconds,
                metadata=metadata,
            )
        except grpc.RpcError as error:
            refusal = refusal_of_error(error)
            if refusal is None or is_worth_waiting(refusal.code):
                raise
            raise refusal from error

    def _channel(self, service: str) -> grpc.Channel:
        with self._lock:
            channel = self._channels.get(service)
            if channel is None:
                channel = self._open_channel(self._options.target(service))
                self._channels[service] = channel
            return channel

    def _connect(self, target: str) -> grpc.Channel:
        arguments = self._options.channel_arguments(target)
        if self._options.tls is None:
            return grpc.insecure_channel(target, options=arguments)
        return grpc.secure_channel(target, self._options.tls, options=arguments)


class _Channel(grpc.Channel):
    """A channel whose calls are prepared by a client.

    Not an interceptor: those hand arguments on that fake channels do not take.
    """

    def __init__(self, client: Client, inner: grpc.Channel) -> None:
        self._client = client
        self._inner = inner

    def unary_unary(self, method: str, *args: Any, **kwargs: Any) -> Any:
        return _UnaryUnary(self._client, self._inner.unary_unary(method, *args, **kwargs))

    def unary_stream(self, method: str, *args: Any, **kwargs: Any) -> Any:
        return _UnaryStream(self._client, self._inner.unary_stream(method, *args, **kwargs))

    def stream_unary(self, method: str, *_: Any, **__: Any) -> Any:
        raise TypeError(f"{method} takes a stream, which no method of the suite does")

    def stream_stream(self, method: str, *_: Any, **__: Any) -> Any:
        raise TypeError(f"{method} takes a stream, which no method of the suite does")

    def subscribe(self, callback: Any, try_to_connect: bool = False) -> None:
        self._inner.subscribe(callback, try_to_connect)

    def unsubscribe(self, callback: Any) -> None:
        self._inner.unsubscribe(callback)

    def close(self) -> None:
        self._inner.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class _UnaryUnary:
    """A unary method: called at once, with its call, or as a future (of gRPC's own errors)."""

    def __init__(self, client: Client, inner: Any) -> None:
        self._client = client
        self._inner = inner

    def __call__(
        self,
        request: Message,
        timeout: float | None = None,
        metadata: Metadata | None = None,
        **more: Any,
    ) -> Any:
        return self._answered(self._inner, request, timeout, metadata, more)

    def with_call(
        self,
        request: Message,
        timeout: float | None = None,
        metadata: Metadata | None = None,
        **more: Any,
    ) -> Any:
        return self._answered(self._inner.with_call, request, timeout, metadata, more)

    def future(
        self,
        request: Message,
        timeout: float | None = None,
        metadata: Metadata | None = None,
        **more: Any,
    ) -> Any:
        seconds, sent = self._client.prepare(request, timeout, metadata)
        return self._inner.future(request, timeout=seconds, metadata=sent, **more)

    def _answered(
        self,
        method: Any,
        request: Message,
        timeout: float | None,
        metadata: Metadata | None,
        more: Mapping[str, Any],
    ) -> Any:
        seconds, sent = self._client.prepare(request, timeout, metadata)
        try:
            return method(request, timeout=seconds, metadata=sent, **more)
        except grpc.RpcError as error:
            raise (refusal_of_error(error) or error) from error.__cause__


class _UnaryStream:
    """A method that answers a stream; it has a deadline only where the caller gives one."""

    def __init__(self, client: Client, inner: Any) -> None:
        self._client = client
        self._inner = inner

    def __call__(
        self,
        request: Message,
        timeout: float | None = None,
        metadata: Metadata | None = None,
        **more: Any,
    ) -> "_Stream":
        sent = self._client.authorize(metadata)
        return _Stream(self._inner(request, timeout=timeout, metadata=sent, **more))


class _Stream:
    """The answers of a stream, and the call (`cancel()`, `code()` …) that they come from."""

    def __init__(self, call: Any) -> None:
        self._call = call

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        try:
            return next(self._call)
        except grpc.RpcError as error:
            raise (refusal_of_error(error) or error) from error.__cause__

    def __getattr__(self, name: str) -> Any:
        return getattr(self._call, name)
