"""Prometheus metrics: rates, durations and refusals of calls, and the endpoint that shows them."""

import threading
from collections.abc import Callable
from typing import Final
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

REGISTRY: Final = CollectorRegistry()
"""What the endpoint shows; services register their own metrics here."""

_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

CALLS: Final = Counter(
    "loyalty_calls",
    "Calls answered, by method, gRPC code and reason of refusal",
    ("service", "method", "code", "reason"),
    registry=REGISTRY,
)
SECONDS: Final = Histogram(
    "loyalty_call_seconds",
    "Duration of calls, in seconds",
    ("service", "method"),
    buckets=_BUCKETS,
    registry=REGISTRY,
)
IN_FLIGHT: Final = Gauge(
    "loyalty_calls_in_flight",
    "Calls being worked on, by kind (unary, stream)",
    ("service", "kind"),
    registry=REGISTRY,
)
FOLLOWED: Final = Counter(
    "loyalty_followed_changes",
    "Changes applied by a follower, by stream",
    ("stream",),
    registry=REGISTRY,
)
FOLLOWER_RECONNECTS: Final = Counter(
    "loyalty_follower_reconnects",
    "Times a follower lost its stream, by stream",
    ("stream",),
    registry=REGISTRY,
)


class MethodMeter:
    """Counts the calls of one method; label look-ups are done once, not per call."""

    def __init__(self, service: str, method: str) -> None:
        self._labels = (service, method)
        self._observe = SECONDS.labels(service, method).observe
        self._ok = CALLS.labels(service, method, "OK", "").inc
        self._others: dict[tuple[str, str], Callable[[], None]] = {}

    def count(self, seconds: float, code: str, reason: str) -> None:
        """Count one answer. Reasons and codes are few, so that the labels stay few, too."""
        self._observe(seconds)
        if code == "OK":
            self._ok()
            return
        count = self._others.get((code, reason))
        if count is None:
            count = CALLS.labels(*self._labels, code, reason).inc
            self._others[code, reason] = count
        count()


class MetricsEndpoint:
    """Serves `/metrics`, in a thread of its own."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        """Listen on `port`; 0 takes a free one."""
        self._server: WSGIServer
        self._thread: threading.Thread
        self._server, self._thread = start_http_server(port, host, REGISTRY)
        self.port: int = self._server.server_port

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=5.0)
