"""Channels to other services: kept alive, found again soon, and retried where it does no harm."""

import json
from collections.abc import Iterable
from typing import Any, Final

import grpc
import grpc.aio

from chassis.settings import ServiceSettings

Metadata = tuple[tuple[str, str], ...]
"""What goes with a call: the credential, the trace."""

MESSAGE_BYTES_MAX: Final = 64 * 1024 * 1024
_RETRY: Final = {
    "maxAttempts": 4,
    "initialBackoff": "0.05s",
    "maxBackoff": "0.5s",
    "backoffMultiplier": 2.0,
    # CANCELLED is what gRPC's server says to a call that reaches it while it shuts down.
    "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"],
}


def open_channel(
    address: str, settings: ServiceSettings, retried: Iterable[str] = ()
) -> grpc.aio.Channel:
    """A connection of its own to a service, with this process's certificate where it has one.

    `retried` are the methods (`/package.Service/Method`) or whole services (`package.Service`) that
    are called again, within their deadline, where a server was away or going.
    """
    options = _options(retried, settings.keepalive_seconds)
    credentials = channel_credentials(settings)
    if credentials is None:
        return grpc.aio.insecure_channel(address, options=options)
    return grpc.aio.secure_channel(address, credentials, options=options)


def channel_credentials(settings: ServiceSettings) -> grpc.ChannelCredentials | None:
    """What a caller shows and trusts where there is TLS; None where calls are plain."""
    paths = (settings.tls_ca_path, settings.tls_key_path, settings.tls_certificate_path)
    if not all(paths):
        return None
    return grpc.ssl_channel_credentials(*(path.read_bytes() for path in paths if path))


def _options(retried: Iterable[str], keepalive_seconds: float) -> list[tuple[str, Any]]:
    names = []
    for each in sorted(retried):
        service, _, method = each.removeprefix("/").partition("/")
        names.append({"service": service, "method": method} if method else {"service": service})
    config = {"methodConfig": [{"name": names, "retryPolicy": _RETRY}]} if names else {}
    return [
        # An HTTP proxy of the environment is not meant for our own services.
        ("grpc.enable_http_proxy", 0),
        ("grpc.service_config", json.dumps(config)),
        # Each channel is a connection of its own, so that several workers of a service share them.
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.keepalive_time_ms", int(keepalive_seconds * 1000)),
        ("grpc.keepalive_timeout_ms", 10_000),
        # A service that comes back is found within a second, not within two minutes.
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 1_000),
        ("grpc.max_reconnect_backoff_ms", 1_000),
        ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
        ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
    ]
