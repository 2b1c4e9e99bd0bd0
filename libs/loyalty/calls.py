"""What both clients share: addresses, options, credentials, request ids, refusals.

Everything here is a value or a function; channels are in `loyalty.client` and `loyalty.aio`.
"""

import ipaddress
import json
import secrets
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from loyalty.gateway.v1 import credential_pb2

DOMAIN = "loyalty"
STATUS_KEY = "grpc-status-details-bin"

# Where the services listen unless the environment says otherwise.
PORTS: Mapping[str, int] = {
    "gateway": 50050,
    "ledger": 50051,
    "rules": 50052,
    "tiers": 50053,
    "audience": 50054,
}

_CODES = {code.value[0]: code for code in grpc.StatusCode}


class LoyaltyRefusal(Exception):
    """A rule said no.

    `reason` is the name of a value of `loyalty.errors.v1.Reason`, `metadata` holds the keys that
    are published with it (numbers are decimal strings), `code` is the gRPC code, `message` is for
    people, and `violations` are the bad fields of an INVALID_FIELD as (path, description).
    """

    def __init__(
        self,
        reason: str,
        metadata: Mapping[str, str],
        code: grpc.StatusCode,
        message: str = "",
        violations: tuple[tuple[str, str], ...] = (),
    ) -> None:
        super().__init__(f"{reason}: {message}" if message else reason)
        self.reason = reason
        self.metadata = dict(metadata)
        self.code = code
        self.message = message
        self.violations = violations


def refusal_of_status(status: status_pb2.Status) -> LoyaltyRefusal | None:
    """The refusal in a status, such as that of a batch's item; None where it is none of ours."""
    info = error_details_pb2.ErrorInfo()
    violations: list[tuple[str, str]] = []
    found = False
    for detail in status.details:
        if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
            detail.Unpack(info)
            found = info.domain == DOMAIN
        elif detail.Is(error_details_pb2.BadRequest.DESCRIPTOR):
            bad = error_details_pb2.BadRequest()
            detail.Unpack(bad)
            violations += [(one.field, one.description) for one in bad.field_violations]
    if not found:
        return None
    code = _CODES.get(status.code, grpc.StatusCode.UNKNOWN)
    return LoyaltyRefusal(info.reason, info.metadata, code, status.message, tuple(violations))


def refusal_of_metadata(
    trailing: Iterable[tuple[str, str | bytes]] | None,
) -> LoyaltyRefusal | None:
    """The refusal in a failed call's trailing metadata; None where the call failed otherwise."""
    for key, value in trailing or ():
        if key == STATUS_KEY and isinstance(value, bytes):
            return refusal_of_status(status_pb2.Status.FromString(value))
    return None


def new_request_id() -> str:
    """A fresh request id: a UUIDv7, so that ids made together lie together in an index."""
    milliseconds = time.time_ns() // 1_000_000
    number = (milliseconds & (2**48 - 1)) << 80 | secrets.randbits(80)
    number = number & ~(0xF << 76) | 0x7 << 76
    number = number & ~(0x3 << 62) | 0x2 << 62
    return str(uuid.UUID(int=number))


def fill_request_ids(request: Message, make: Callable[[], str]) -> None:
    """Give a request, and each request of a batch, an id where the caller gave none.

    The id is written into the caller's own message: sending that message again after an unclear
    answer is then the same request, and cannot apply twice.
    """
    fields = request.DESCRIPTOR.fields_by_name
    # A field that only some messages have has no static type.
    message: Any = request
    own = fields.get("request_id")
    if own is not None and own.type == FieldDescriptor.TYPE_STRING:
        if not message.request_id:
            message.request_id = make()
        return
    batch = fields.get("requests")
    if batch is not None and batch.message_type is not None:
        for item in message.requests:
            fill_request_ids(item, make)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How a call that may succeed later is sent again, within its deadline.

    Retried are UNAVAILABLE (a server that restarts, a dependency that is down), RESOURCE_EXHAUSTED
    (too much load) and CANCELLED (what gRPC's server says to a call that reaches it while it shuts
    down, or behind a thousand others; a call that its caller cancels is over), after a wait that
    grows and is jittered by gRPC.
    It is safe for writes because every write has a request id. While most calls fail, retries are
    throttled, so that an overloaded server is not kept overloaded.
    """

    attempts: int = 5
    initial_backoff_seconds: float = 0.1
    maximum_backoff_seconds: float = 2.0
    multiplier: float = 2.5
    # While a server cannot be reached, calls wait for it up to their deadline instead of failing.
    wait_for_ready: bool = True

    def service_config(self) -> str:
        """The policy as gRPC's service config, in JSON."""
        method: dict[str, object] = {"name": [{}], "waitForReady": self.wait_for_ready}
        config: dict[str, object] = {"methodConfig": [method]}
        if self.attempts > 1:
            method["retryPolicy"] = {
                "maxAttempts": self.attempts,
                "initialBackoff": f"{self.initial_backoff_seconds}s",
                "maxBackoff": f"{self.maximum_backoff_seconds}s",
                "backoffMultiplier": self.multiplier,
                "retryableStatusCodes": ["UNAVAILABLE", "RESOURCE_EXHAUSTED", "CANCELLED"],
            }
            config["retryThrottling"] = {"maxTokens": 100, "tokenRatio": 0.5}
        return json.dumps(config)


@dataclass(frozen=True, slots=True)
class Options:
    """How a client calls.

    `addresses` maps a service to `host:port`. `deadline_seconds` is for unary calls that name no
    timeout of their own; streams have none. Without `tls` only loopback addresses are called,
    unless `plaintext` allows others.
    """

    addresses: Mapping[str, str]
    deadline_seconds: float = 10.0
    retry: RetryPolicy = RetryPolicy()
    tls: grpc.ChannelCredentials | None = None
    plaintext: bool = False

    def channel_arguments(self, target: str) -> list[tuple[str, int | str]]:
        """The arguments of a channel to an address."""
        return [
            ("grpc.service_config", self.retry.service_config()),
            ("grpc.enable_retries", 1),
            # A proxy in the environment does not reach this machine's own ports.
            ("grpc.enable_http_proxy", int(not _is_loopback(target))),
            # A service that comes back is found within seconds, not within two minutes.
            ("grpc.initial_reconnect_backoff_ms", 200),
            ("grpc.min_reconnect_backoff_ms", 1_000),
            ("grpc.max_reconnect_backoff_ms", 2_000),
            ("grpc.max_receive_message_length", 64 * 2**20),
            ("grpc.max_send_message_length", 64 * 2**20),
        ]

    def target(self, service: str) -> str:
        """The address of a service; ValueError where a credential would be sent in the clear."""
        try:
            address = self.addresses[service]
        except KeyError:
            raise ValueError(f"no address is known of the service {service!r}") from None
        if self.tls is None and not self.plaintext and not _is_loopback(address):
            raise ValueError(f"{address} is not on this machine: give `tls`, or allow `plaintext`")
        return address


@dataclass(frozen=True, slots=True)
class Token:
    """A JWT that is sent as it is."""

    token: str


@dataclass(frozen=True, slots=True)
class ApiKey:
    """An API key that the gateway turns into tokens, renewed before they expire."""

    key: str


Credential = Token | ApiKey


@dataclass(frozen=True, slots=True)
class Lease:
    """A token, when to renew it, and when it is dead; in seconds of the client's clock."""

    token: str
    renew_seconds: float
    expire_seconds: float

    @staticmethod
    def of(response: credential_pb2.IssueTokenResponse, now: float) -> "Lease":
        """The lease of a fresh token: renewed when a fifth of its life is left."""
        expire = response.expire_time.seconds + response.expire_time.nanos / 1e9
        return Lease(response.token, expire - max(0.0, expire - now) / 5, expire)


def is_worth_waiting(code: object) -> bool:
    """Whether a failure to renew a token says nothing about the token that is still alive."""
    return code in {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
    }


def service_of(stub: object) -> str:
    """The service that serves a generated stub, from its package `loyalty.<service>.v1`.

    Raises ValueError where the package does not say it, as with `loyalty.common`.
    """
    parts = str(getattr(stub, "__module__", "")).split(".")
    if len(parts) > 1 and parts[0] == "loyalty" and parts[1] in PORTS:
        return parts[1]
    raise ValueError(f"name the service of {stub!r}: one of {', '.join(PORTS)}")


def addresses_of(environ: Mapping[str, str]) -> dict[str, str]:
    """Addresses from LOYALTY_<SERVICE>_ADDRESS, else loopback with LOYALTY_<SERVICE>_PORT."""
    return {
        service: environ.get(f"LOYALTY_{service.upper()}_ADDRESS")
        or f"127.0.0.1:{environ.get(f'LOYALTY_{service.upper()}_PORT') or port}"
        for service, port in PORTS.items()
    }


def credential_of(environ: Mapping[str, str]) -> Credential:
    """The credential from LOYALTY_TOKEN, else LOYALTY_API_KEY, else `$LOYALTY_HOME/admin.key`.

    Raises ValueError where there is none.
    """
    if token := environ.get("LOYALTY_TOKEN"):
        return Token(token)
    if key := environ.get("LOYALTY_API_KEY"):
        return ApiKey(key)
    path = Path(environ.get("LOYALTY_HOME") or ".loyalty") / "admin.key"
    try:
        return ApiKey(path.read_text(encoding="utf-8").strip())
    except OSError:
        raise ValueError(
            f"no credential: set LOYALTY_TOKEN or LOYALTY_API_KEY, or run where {path} is"
        ) from None


def options_of(environ: Mapping[str, str], retry: RetryPolicy | None = None) -> Options:
    """Options from the environment.

    LOYALTY_TLS_CA_PATH turns on TLS, with LOYALTY_TLS_CERTIFICATE_PATH and LOYALTY_TLS_KEY_PATH
    where services ask for a certificate. LOYALTY_PLAINTEXT=1 allows other hosts without TLS.
    """
    tls = None
    if environ.get("LOYALTY_TLS_CA_PATH"):
        names = ("LOYALTY_TLS_CA_PATH", "LOYALTY_TLS_KEY_PATH", "LOYALTY_TLS_CERTIFICATE_PATH")
        paths = [environ.get(name) for name in names]
        tls = grpc.ssl_channel_credentials(
            *(Path(path).read_bytes() if path else None for path in paths)
        )
    return Options(
        addresses_of(environ),
        retry=retry or RetryPolicy(),
        tls=tls,
        plaintext=environ.get("LOYALTY_PLAINTEXT") == "1",
    )


def _is_loopback(address: str) -> bool:
    """Whether a gRPC target stays on this machine."""
    if address.startswith("unix:"):
        return True
    host = address.rsplit(":", 1)[0].strip("[]")
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
