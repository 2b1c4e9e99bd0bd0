"""Channels to other services, and what their refusals are here."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from google.rpc import status_pb2

from chassis.refusals import DependencyUnavailable, error_info, status_of_error
from kernel.refusals import Refusal
from services.rules.domain.refusals import passed_on

Metadata = tuple[tuple[str, str], ...]

MESSAGE_BYTES_MAX = 32 * 1024 * 1024
_RETRY = {
    "maxAttempts": 4,
    "initialBackoff": "0.05s",
    "maxBackoff": "0.5s",
    "backoffMultiplier": 2.0,
    "retryableStatusCodes": ["UNAVAILABLE"],
}


def open_channel(
    address: str,
    *,
    retried: Sequence[str] = (),
    certificates: tuple[Path, Path, Path] | None = None,
) -> grpc.aio.Channel:
    """A channel to a service; calls of the `retried` services are tried again where it is away.

    `certificates` are the files of mutual TLS: this service's chain and key, and the authority.
    """
    names = [{"service": service} for service in retried]
    config = {"methodConfig": [{"name": names, "retryPolicy": _RETRY}]} if names else {}
    options: list[tuple[str, Any]] = [
        # An HTTP proxy of the environment is not meant for our own services.
        ("grpc.enable_http_proxy", 0),
        ("grpc.service_config", json.dumps(config)),
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        # A service that comes back is found within a second, not within two minutes.
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 1_000),
        ("grpc.max_reconnect_backoff_ms", 1_000),
        ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
        ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
    ]
    if certificates is None:
        return grpc.aio.insecure_channel(address, options=options)
    chain, key, authority = certificates
    credentials = grpc.ssl_channel_credentials(
        root_certificates=authority.read_bytes(),
        private_key=key.read_bytes(),
        certificate_chain=chain.read_bytes(),
    )
    return grpc.aio.secure_channel(address, credentials, options=options)


def refusal_of_error(error: grpc.aio.AioRpcError, dependency: str) -> Refusal:
    """What a call to `dependency` that failed means here."""
    return refusal_of_status(status_of_error(error, dependency), dependency)


def refusal_of_status(status: status_pb2.Status, dependency: str) -> Refusal:
    """The refusal in a status of another service."""
    info = error_info(status)
    if info is None:
        return DependencyUnavailable(dependency)
    return passed_on(info.reason, status.message, dict(info.metadata))
