"""Channels to the other services, and this service's own credentials for them."""

import json
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Final, NoReturn

import grpc
import grpc.aio

from chassis.call import current_call, remaining_seconds
from chassis.identity import SERVICE_SCOPE, Identity, TokenIssuer
from chassis.refusals import (
    DeadlinePassed,
    DependencyUnavailable,
    Overloaded,
    error_info,
    status_of_error,
)
from chassis.settings import ServiceSettings
from chassis.tracing import HEADER
from kernel.refusals import MemberNotFound, ProgramNotFound

Metadata = tuple[tuple[str, str], ...]

ACTOR: Final = "service:audience"
# A token names an organization. What is followed is of all of them.
_ALL_ORGANIZATIONS: Final = "-"
_READING: Final = frozenset({"ledger:read", "programs:read"})
_FOLLOWING: Final = frozenset({"changes:read", SERVICE_SCOPE})
_TOKEN_SECONDS: Final = 300
_ORGANIZATIONS_MAX: Final = 1_000
_MESSAGE_BYTES_MAX: Final = 64 * 1024 * 1024
_RETRY: Final = {
    "maxAttempts": 3,
    "initialBackoff": "0.05s",
    "maxBackoff": "0.3s",
    "backoffMultiplier": 2.0,
    "retryableStatusCodes": ["UNAVAILABLE"],
}


class Credentials:
    """Signs this service's own tokens.

    Whether a program and a member exist is asked on the service's own account, in the organization
    of whoever calls: a credential that reaches audiences need not reach the ledger.
    """

    def __init__(self, issuer: TokenIssuer) -> None:
        self._issuer = issuer
        self._reading: OrderedDict[str, tuple[float, Metadata]] = OrderedDict()

    def following(self) -> Metadata:
        """For the streams of all organizations."""
        return self._signed(_ALL_ORGANIZATIONS, _FOLLOWING)

    def reading(self, organization: str, now: float) -> Metadata:
        """For reading in one organization; the same token for a while. `now` in seconds."""
        known = self._reading.get(organization)
        if known is None or known[0] <= now:
            known = now + _TOKEN_SECONDS / 2, self._signed(organization, _READING)
            self._reading[organization] = known
            if len(self._reading) > _ORGANIZATIONS_MAX:
                self._reading.popitem(last=False)
        return known[1]

    def _signed(self, organization: str, scopes: frozenset[str]) -> Metadata:
        identity = Identity(organization, scopes, ACTOR)
        token = self._issuer.issue(identity, lifetime_seconds=_TOKEN_SECONDS)
        return (("authorization", f"Bearer {token}"),)


def open_channel(
    address: str, settings: ServiceSettings, retried: Sequence[tuple[str, str]] = ()
) -> grpc.aio.Channel:
    """A connection to a service, with this service's certificate where it has one.

    `retried` are methods (service, method) that are called again where they were UNAVAILABLE.
    """
    names = [{"service": service, "method": method} for service, method in retried]
    config = {"methodConfig": [{"name": names, "retryPolicy": _RETRY}]} if names else {}
    options: list[tuple[str, Any]] = [
        # An HTTP proxy of the environment is not meant for our own services.
        ("grpc.enable_http_proxy", 0),
        ("grpc.service_config", json.dumps(config)),
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.keepalive_time_ms", int(settings.keepalive_seconds * 1000)),
        ("grpc.keepalive_timeout_ms", 10_000),
        # A service that comes back is found within a second, not within two minutes.
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 1_000),
        ("grpc.max_reconnect_backoff_ms", 1_000),
        ("grpc.max_receive_message_length", _MESSAGE_BYTES_MAX),
    ]
    paths = (settings.tls_ca_path, settings.tls_key_path, settings.tls_certificate_path)
    authority, key, chain = (None if path is None else path.read_bytes() for path in paths)
    if chain is None:
        return grpc.aio.insecure_channel(address, options=options)
    credentials = grpc.ssl_channel_credentials(authority, key, chain)
    return grpc.aio.secure_channel(address, credentials, options=options)


async def answer(method: Any, request: Any, metadata: Metadata, dependency: str) -> Any:
    """A unary call's answer, within what is left of the call that is worked on.

    Refusals: PROGRAM_NOT_FOUND, MEMBER_NOT_FOUND, DEADLINE_PASSED, OVERLOADED,
    DEPENDENCY_UNAVAILABLE for everything else.
    """
    call = current_call()
    trace = () if call is None else ((HEADER, call.trace.header()),)
    try:
        return await method(request, timeout=remaining_seconds(), metadata=(*metadata, *trace))
    except grpc.aio.AioRpcError as error:
        refuse(error, dependency)


def refuse(error: grpc.aio.AioRpcError, dependency: str) -> NoReturn:
    """Refuse as the dependency did where that is about the request."""
    info = error_info(status_of_error(error, dependency))
    said = {} if info is None else dict(info.metadata)
    match "" if info is None else info.reason:
        case "PROGRAM_NOT_FOUND":
            raise ProgramNotFound(said.get("program", "")) from None
        case "MEMBER_NOT_FOUND":
            raise MemberNotFound(said.get("member", "")) from None
        case "DEADLINE_PASSED":
            raise DeadlinePassed from None
        case "OVERLOADED":
            raise Overloaded from None
        case _:
            raise DependencyUnavailable(dependency) from error


async def newer(stub_call: Any, cursors: dict[int, int], dependency: str) -> dict[int, int] | None:
    """What a stream says first after the cursors; None where nothing newer is recorded.

    Answers the cursors after the next changes, which need not be all there are.
    """
    call = stub_call(cursors)
    try:
        async for response in call:
            if response.changes:
                return {each.bucket: each.sequence for each in response.changes}
            if response.HasField("current_time"):
                ahead = {
                    bucket: sequence
                    for bucket, sequence in response.cursors.items()
                    if sequence > cursors.get(bucket, 0)
                }
                return ahead or None
    except grpc.aio.AioRpcError as error:
        refuse(error, dependency)
    finally:
        call.cancel()
    raise DependencyUnavailable(dependency)
