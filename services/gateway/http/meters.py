"""One log line and one count for every HTTP request that is answered."""

import random
from dataclasses import dataclass

from prometheus_client import Counter, Histogram

from chassis.logs import logger
from chassis.metrics import REGISTRY
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

_log = logger("http")


@dataclass(slots=True)
class Answered:
    """A request while it is answered: its route and its reason of refusal once they are known."""

    method: str
    trace_id: str
    route: Route | None = None
    reason: str = ""


def count(answered: Answered, status: int, seconds: float, sample: float) -> None:
    """Count and log one answer; of successful ones the share `sample` is logged."""
    # Labels come from the routes and from short lists, never from the caller.
    method = answered.method if answered.method in _KNOWN else "OTHER"
    route = answered.route.template.text if answered.route is not None else ""
    REQUESTS.labels(method, route, str(status), answered.reason).inc()
    SECONDS.labels(method, route).observe(seconds)
    if status >= 400 or sample >= 1.0 or random.random() < sample:  # noqa: S311 - not a secret
        _log.info(
            "request",
            method=method,
            route=route,
            status=status,
            reason=answered.reason,
            milliseconds=round(seconds * 1000, 3),
            trace_id=answered.trace_id,
        )
