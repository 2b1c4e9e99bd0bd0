"""Trace ids after W3C Trace Context: taken from the caller, passed on to whoever is called."""

import random
from typing import Final, NamedTuple

HEADER: Final = "traceparent"

_HEX: Final = frozenset("0123456789abcdef")
# `version-trace-span-flags`, such as 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01.
_LENGTH: Final = 55

# Ids must differ, not be secret; this generator is seeded from the system once and costs 0.2 µs.
_random = random.Random()  # noqa: S311
# The share of the traces begun here whose spans are wanted; see `chassis.spans`.
_sample = 0.0


class Trace(NamedTuple):
    """Where a call belongs: the trace (32 hex digits), our span in it (16), and the flags (2).

    `parent_id` is the caller's span, empty where the trace begins here.
    """

    trace_id: str
    span_id: str
    flags: str
    parent_id: str = ""

    @property
    def sampled(self) -> bool:
        """Whether somebody wants to see the spans of the trace."""
        return int(self.flags, 16) & 1 == 1

    def header(self) -> str:
        """The value of `traceparent` for calls that are made on behalf of this one."""
        return f"00-{self.trace_id}-{self.span_id}-{self.flags}"


def set_sample(share: float) -> None:
    """The share of the traces begun in this process that are marked as sampled."""
    global _sample  # noqa: PLW0603 - as logging, tracing is one thing of the whole process
    _sample = share


def begin_trace(header: str | None) -> Trace:
    """A new span, in the caller's trace where `header` is a valid traceparent, else in a new one.

    What is not valid is not an error: a trace is a courtesy to whoever looks for a cause.
    """
    span_id = f"{_random.getrandbits(64) or 1:016x}"
    if header is not None and len(header) == _LENGTH:
        version, _, rest = header.partition("-")
        trace_id, _, rest = rest.partition("-")
        parent, _, flags = rest.partition("-")
        if (
            version == "00"
            and len(trace_id) == 32
            and len(parent) == 16
            and len(flags) == 2
            and _HEX.issuperset(trace_id + parent + flags)
            and trace_id.strip("0")
            and parent.strip("0")
        ):
            return Trace(trace_id, span_id, flags, parent)
    flags = "01" if _sample and _random.random() < _sample else "00"
    return Trace(f"{_random.getrandbits(128) or 1:032x}", span_id, flags)
