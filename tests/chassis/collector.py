"""An OpenTelemetry collector that keeps what it is sent."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.trace.v1 import trace_pb2

from chassis import spans


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """Keeps what it is sent; `address` is for `LOYALTY_OTLP_ENDPOINT`."""

    def __init__(self) -> None:
        self.address = ""
        self.services: set[str] = set()
        self.spans: list[trace_pb2.Span] = []

    async def Export(self, request: Any, context: Any) -> Any:
        for group in request.resource_spans:
            named = {each.key: each.value.string_value for each in group.resource.attributes}
            self.services.add(named["service.name"])
            self.spans += [span for scope in group.scope_spans for span in scope.spans]
        return trace_service_pb2.ExportTraceServiceResponse()


@asynccontextmanager
async def collecting() -> AsyncIterator[Collector]:
    """A collector that serves; at the end nothing is sent any more."""
    collector = Collector()
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    add: Any = trace_service_pb2_grpc.add_TraceServiceServicer_to_server
    add(collector, server)
    collector.address = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    try:
        yield collector
    finally:
        await asyncio.to_thread(spans.close)
        await server.stop(None)
