"""Spans: where the time of a trace went, sent to an OpenTelemetry collector where one is named.

The ids are those of `chassis.tracing`, which the log lines carry, too; so a trace in the collector
and the lines about it are found by the same id. Without a collector nothing here costs anything,
and the libraries for it are not even loaded.
"""

import time
from collections.abc import Mapping
from typing import Any, Final

from chassis import tracing
from chassis.tracing import Trace

_QUEUE_MAX: Final = 4096
_EXPORT_SECONDS: Final = 5.0
_CLOSE_MS: Final = 2_000
# What broke on our side; a rule that says no is an answer like any other.
_FAULTS: Final = frozenset({"INTERNAL", "UNKNOWN", "UNAVAILABLE", "DATA_LOSS"})

_sink: "_Sink | None" = None


class _Sink:
    """Spans of one process on their way to the collector, in a thread of their own.

    Where the collector is away or slow they are dropped: they are never worth a member's time.
    """

    def __init__(self, service: str, exporter: Any) -> None:
        from opentelemetry import trace  # noqa: PLC0415 - loaded where there is a collector only
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import ReadableSpan  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

        self._trace = trace
        self._span = ReadableSpan
        self._resource = Resource({"service.name": service, "service.namespace": "loyalty"})
        self._batches = BatchSpanProcessor(exporter, max_queue_size=_QUEUE_MAX)

    def add(
        self, trace: Trace, name: str, seconds: float, code: str, attributes: Mapping[str, str]
    ) -> None:
        """Take one span."""
        api = self._trace
        end = time.time_ns()
        flags = api.TraceFlags(api.TraceFlags.SAMPLED)
        trace_id = int(trace.trace_id, 16)
        parent = None
        if trace.parent_id:
            parent = api.SpanContext(trace_id, int(trace.parent_id, 16), is_remote=True)
        failed = api.StatusCode.ERROR if code in _FAULTS else api.StatusCode.UNSET
        self._batches.on_end(
            self._span(
                name,
                context=api.SpanContext(trace_id, int(trace.span_id, 16), False, flags),
                parent=parent,
                resource=self._resource,
                attributes=dict(attributes),
                kind=api.SpanKind.SERVER,
                status=api.Status(failed),
                start_time=end - int(seconds * 1e9),
                end_time=end,
            )
        )

    def close(self) -> None:
        """Send what has gathered, or give it up."""
        self._batches.force_flush(_CLOSE_MS)
        self._batches.shutdown()  # type: ignore[no-untyped-call]  # ships half of its types


def configure(*, service: str, endpoint: str, sample: float) -> None:
    """Send spans of this process from now on; `endpoint` is a collector's OTLP over gRPC.

    `http://collector:4317` is plain, `https://…` is TLS. `sample` is the share of the traces that
    begin here; whoever goes on with a caller's trace does with it as the caller did.
    """
    global _sink  # noqa: PLW0603 - as logging, tracing is one thing of the whole process
    close()
    if not endpoint:
        return
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import (  # noqa: PLC0415
        OTLPSpanExporter,
    )

    _sink = _Sink(service, OTLPSpanExporter(endpoint, timeout=_EXPORT_SECONDS))
    tracing.set_sample(sample)


def record(
    trace: Trace, name: str, seconds: float, code: str, attributes: Mapping[str, str]
) -> None:
    """Tell of one call that took so long and ended just now; `attributes` are ids and codes."""
    if _sink is not None and trace.sampled:
        _sink.add(trace, name, seconds, code, attributes)


def close() -> None:
    """Send what has gathered, and none from now on. Blocks for at most a few seconds."""
    global _sink
    tracing.set_sample(0.0)
    sink, _sink = _sink, None
    if sink is not None:
        sink.close()
