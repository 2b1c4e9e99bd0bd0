"""The client for asyncio: the same promises as `loyalty.client.Client`."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Self, TypeVar

import grpc
import grpc.aio

from loyalty.calls import (
    Credential,
    Lease,
    Options,
    Token,
    credential_of,
    fill_request_ids,
    is_worth_waiting,
    new_request_id,
    options_of,
    refusal_of_metadata,
    service_of,
)
from loyalty.gateway.v1 import credential_pb2, credential_pb2_grpc

Stub = TypeVar("Stub")


class AsyncClient:
    """An asynchronous client of all services; it belongs to one event loop.

    Close it with `await client.close()`, or use it as an asynchronous context manager.
    """

    def __init__(
        self,
        options: Options,
        credential: Credential,
        *,
        clock: Callable[[], float] = time.time,
        make_request_id: Callable[[], str] = new_request_id,
    ) -> None:
        self._options = options
        self._credential = credential
        self._clock = clock
        self.make_request_id = make_request_id
        self._channels: dict[tuple[str, bool], grpc.aio.Channel] = {}
        self._renewing = asyncio.Lock()
        self._lease: Lease | None = None

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> "AsyncClient":
        """A client as the environment describes it; see the table in the README."""
        values = os.environ if environ is None else environ
        return cls(options_of(values), credential_of(values))

    @property
    def deadline_seconds(self) -> float:
        """The deadline of unary calls that name none."""
        return self._options.deadline_seconds

    def stub(self, kind: Callable[[grpc.aio.Channel], Stub], service: str | None = None) -> Stub:
        """A generated stub on this client. `service` is needed for `loyalty.common` only."""
        return kind(self._channel(service or service_of(kind), prepared=True))

    async def token(self) -> str:
        """A token that is alive, renewed where it is time; see `Client.token`."""
        if isinstance(self._credential, Token):
            return self._credential.token
        async with self._renewing:
            now = self._clock()
            lease = self._lease
            if lease is not None and now < lease.renew_seconds:
                return lease.token
            try:
                response = await self._issue(self._credential.key)
            except grpc.aio.AioRpcError as error:
                if (
                    lease is not None
                    and now < lease.expire_seconds
                    and is_worth_waiting(error.code())
                ):
                    return lease.token
                raise refusal_or(error) from None
            self._lease = Lease.of(response, now)
            return self._lease.token

    async def close(self) -> None:
        """Close all channels; calls that run are cancelled."""
        channels = list(self._channels.values())
        self._channels.clear()
        for channel in channels:
            await channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()

    async def _issue(self, key: str) -> credential_pb2.IssueTokenResponse:
        stub = credential_pb2_grpc.CredentialServiceStub(self._channel("gateway", prepared=False))
        return await stub.IssueToken(
            credential_pb2.IssueTokenRequest(),
            timeout=self._options.deadline_seconds,
            metadata=(("authorization", f"Bearer {key}"),),
        )

    def _channel(self, service: str, *, prepared: bool) -> grpc.aio.Channel:
        channel = self._channels.get((service, prepared))
        if channel is None:
            target = self._options.target(service)
            arguments = self._options.channel_arguments(target)
            interceptors = [_UnaryUnary(self), _UnaryStream(self)] if prepared else None
            if self._options.tls is None:
                channel = grpc.aio.insecure_channel(
                    target, options=arguments, interceptors=interceptors
                )
            else:
                channel = grpc.aio.secure_channel(
                    target, self._options.tls, options=arguments, interceptors=interceptors
                )
            self._channels[service, prepared] = channel
        return channel


def refusal_or(error: grpc.aio.AioRpcError) -> Exception:
    """The refusal in an error of gRPC, or the error itself where the call failed otherwise."""
    return refusal_of_metadata(error.trailing_metadata()) or error


async def _authorized(client: AsyncClient, details: Any) -> Any:
    """The details of a call with the credential, unless the caller gave one."""
    metadata = grpc.aio.Metadata(*tuple(details.metadata or ()))
    if metadata.get("authorization") is None:
        metadata.add("authorization", f"Bearer {await client.token()}")
    return details._replace(metadata=metadata)


class _UnaryUnary(grpc.aio.UnaryUnaryClientInterceptor):
    """Prepares unary calls and raises their refusals."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
        fill_request_ids(request, self._client.make_request_id)
        details = await _authorized(self._client, details)
        if details.timeout is None:
            details = details._replace(timeout=self._client.deadline_seconds)
        call = await continuation(details, request)
        try:
            await call
        except grpc.aio.AioRpcError as error:
            raise refusal_or(error) from None
        return call


class _UnaryStream(grpc.aio.UnaryStreamClientInterceptor):
    """Authorizes streams and raises their refusals; a stream has no deadline but the caller's."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def intercept_unary_stream(self, continuation: Any, details: Any, request: Any) -> Any:
        call = await continuation(await _authorized(self._client, details), request)
        return self._answers(call)

    async def _answers(self, call: Any) -> AsyncIterator[Any]:
        try:
            async for answer in call:
                yield answer
        except grpc.aio.AioRpcError as error:
            raise refusal_or(error) from None
