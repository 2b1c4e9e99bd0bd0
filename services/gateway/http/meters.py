"""One log line and one count for every HTTP request that is answered."""

import random
from collections.abc import Callable
from dataclasses import dataclass

from prometheus_client import Counter, Histogram

from chassis import spans
from chassis.logs import AccessLog, OncePerSecond
from chassis.metrics import REGISTRY
from chassis.tracing import Trace
from services.gateway.http.routes import Route

REQUESTS = Counter(
    "loyalty_http_requests",
    "HTTP requests answered, by method, route, status and reason of refusal",
    ("method", "route", "status", "reason"),
    registry=REGISTRY,
)
SECONDS = Histogram(
    "loyalty_http_request_seconds",
    "Duration of HTTP requests, in seconds",
    ("method", "route"),
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
    registry=REGISTRY,
)
_KNOWN = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
# Whoever is refused with these may send any number of them.
_FLOODS = frozenset({401, 429})


@dataclass(slots=True)
class Answered:
    """A request while it is answered: its route and its reason of refusal once they are known."""

    method: str
    trace: Trace
    route: Route | None = None
    reason: str = ""


class Meter:
    """Counts and logs answers; of successful ones the share `sample` is logged."""

    def __init__(self, sample: float) -> None:
        self._sample = sample
        self._log = AccessLog()
        self._flood = OncePerSecond()
        self._counts: dict[tuple[str, str, int, str], Callable[[], None]] = {}
        self._times: dict[tuple[str, str], Callable[[float], None]] = {}

    def count(self, answered: Answered, status: int, began: float, now: float) -> None:
        """Count and log one answer; times are of a monotonic clock, in seconds."""
        # Labels come from the routes and from short lists, never from the caller.
        method = answered.method if answered.method in _KNOWN else "OTHER"
        route = answered.route.template.text if answered.route is not None else ""
        labels = (method, route, status, answered.reason)
        increase = self._counts.get(labels)
        if increase is None:
            increase = REQUESTS.labels(method, route, str(status), answered.reason).inc
            self._counts[labels] = increase
        increase()
        observe = self._times.get((method, route))
        if observe is None:
            observe = self._times[method, route] = SECONDS.labels(method, route).observe
        observe(now - began)
        if answered.trace.sampled:
            _tell_span(answered, method, route, status, now - began)
        held_back = self._held_back(status, now)
        if held_back is not None:
            self._log.write(
                method=method,
                route=route,
                status=status,
                reason=answered.reason,
                milliseconds=round((now - began) * 1000, 3),
                trace_id=answered.trace.trace_id,
                **({"held_back": held_back} if held_back else {}),
            )

    def flush(self) -> None:
        """Write the lines that have gathered."""
        self._log.flush()

    def _held_back(self, status: int, now: float) -> int | None:
        """None where the line is left out; else how many like it were held back before it."""
        if status in _FLOODS:
            return self._flood.admit(now)
        logged = status >= 400 or self._sample >= 1.0 or random.random() < self._sample  # noqa: S311 - not a secret
        return 0 if logged else None


def _tell_span(answered: Answered, method: str, route: str, status: int, seconds: float) -> None:
    attributes = {
        "http.request.method": method,
        "http.route": route,
        "http.response.status_code": str(status),
        **({"loyalty.reason": answered.reason} if answered.reason else {}),
    }
    code = "INTERNAL" if status >= 500 else "OK"
    spans.record(answered.trace, f"{method} {route}".strip(), seconds, code, attributes)
