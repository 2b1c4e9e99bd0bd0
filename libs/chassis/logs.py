"""Structured logs: one line a call, in JSON or for a terminal.

Lines carry the request id, the posting id and the member id; never names, tokens or payloads.
"""

import asyncio
import json
import logging
import sys
import threading
from collections.abc import MutableMapping
from datetime import UTC, datetime
from typing import Any, TextIO

import structlog

from chassis.call import current_call

_WRITE_SECONDS = 0.1
_LINES_MAX = 200

_encode = json.JSONEncoder(separators=(",", ":"), default=str).encode
# Where access lines go as JSON: the stream, the service's name and the least level; None before
# `configure` and on a terminal.
_json_sink: tuple[TextIO, str, int] | None = None


def configure(
    *,
    service: str,
    level: str = "INFO",
    as_json: bool = True,
    stream: TextIO | None = None,
) -> None:
    """Set up logging of this process, once, at its start. Lines go to standard error."""
    global _json_sink  # noqa: PLW0603 - logging is one thing of the whole process
    output = sys.stderr if stream is None else stream
    least: int = logging.getLevelNamesMapping()[level]
    _json_sink = (output, service, least) if as_json else None
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if as_json
        else structlog.dev.ConsoleRenderer(
            colors=output.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    )

    def add_service(
        _logger: Any, _name: str, event: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        event["service"] = service
        return event

    exceptions: list[structlog.typing.Processor] = (
        [structlog.processors.format_exc_info] if as_json else []
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
            add_service,
            _add_call,
            *exceptions,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(least),
        logger_factory=structlog.WriteLoggerFactory(file=output),
        cache_logger_on_first_use=True,
    )
    # Libraries that log do so through the standard library; their warnings are ours to see.
    logging.basicConfig(stream=output, level=logging.WARNING, format="%(message)s", force=True)


class AccessLog:
    """The lines of answered calls, cheap enough for every call: 5 µs, and written in batches.

    In JSON a line is encoded at once and written with its neighbours within a tenth of a second;
    a terminal gets its lines at once, through structlog.
    """

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._log = logger("access")

    def write(self, **fields: object) -> None:
        """Write one line `call`; `fields` are ids, codes and numbers."""
        if _json_sink is None:
            self._log.info("call", **fields)
            return
        _, service, least = _json_sink
        if least > logging.INFO:
            return
        fields["event"], fields["level"] = "call", "info"
        fields["time"] = datetime.now(UTC).isoformat(timespec="milliseconds")
        fields["service"] = service
        self._lines.append(_encode(fields))
        if len(self._lines) == 1:
            asyncio.get_running_loop().call_later(_WRITE_SECONDS, self.flush)
        elif len(self._lines) >= _LINES_MAX:
            self.flush()

    def flush(self) -> None:
        """Write what has gathered."""
        if self._lines and _json_sink is not None:
            lines, self._lines = self._lines, []
            output = _json_sink[0]
            output.write("\n".join(lines) + "\n")
            output.flush()


def logger(name: str) -> structlog.typing.FilteringBoundLogger:
    """A logger whose lines carry `source = name` and, within a call, the call's trace id."""
    bound: structlog.typing.FilteringBoundLogger = structlog.get_logger(source=name)
    return bound


def _add_call(
    _logger: Any, _name: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    call = current_call()
    if call is not None and "trace_id" not in event:
        event["trace_id"] = call.trace.trace_id
        event["method"] = call.method
    return event


class OncePerSecond:
    """Lets one line a second through and counts the others, for what can come in floods."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._next = 0.0
        self._skipped = 0

    def admit(self, now: float) -> int | None:
        """How many were held back before this one, or None to hold this one back, too."""
        with self._lock:
            if now < self._next:
                self._skipped += 1
                return None
            self._next = now + 1.0
            skipped, self._skipped = self._skipped, 0
            return skipped
