"""What the load generators are told and what they answer, as JSON lines between processes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

PROGRAM = "bench"
ORGANIZATION = "bench"
GIFT = 5
"""Points of one earning, and of one redemption: whoever earns and redeems in turn stays level."""


@dataclass(frozen=True)
class Load:
    """Callers that call again as soon as they are answered, from `begin` until `end`.

    Where `rate` is given (calls a second), they do not wait for answers: calls come at random at
    that rate, and their latency counts from the moment at which they were due.

    `method` is a method of the ledger's, or EarnRedeem (one and the other, in turn), or Mixed (70 %
    and 30 % at random). `begin` and `end` are of the machine's monotonic clock; what is done
    between `measure` and `end` is counted. `members` is the number of members to choose from,
    evenly or, where `zipf`, by rank; with 1 it is the one named `hot`.
    """

    address: str
    method: str
    callers: int
    members: int
    begin: float
    measure: float
    end: float
    hot: str = ""
    zipf: bool = False
    batch: int = 100
    rate: float = 0.0


@dataclass(frozen=True)
class Tally:
    """What a load came to. Seconds; `done` is counted, `all_done` includes the warm-up."""

    done: int
    all_done: int
    refused: int
    seconds: float
    latencies: tuple[float, ...]
    refusal: str = ""

    def rate(self) -> float:
        """Operations a second."""
        return self.done / self.seconds

    def percentile(self, share: float) -> float:
        """The latency that `share` of the calls kept, in seconds; 0 where there were none."""
        if not self.latencies:
            return 0.0
        return self.latencies[min(len(self.latencies) - 1, int(share * len(self.latencies)))]


def joined(tallies: Sequence[Tally]) -> Tally:
    """The tallies of generators that worked at the same time, as one."""
    return Tally(
        done=sum(each.done for each in tallies),
        all_done=sum(each.all_done for each in tallies),
        refused=sum(each.refused for each in tallies),
        seconds=max(each.seconds for each in tallies),
        latencies=tuple(sorted(one for each in tallies for one in each.latencies)),
        refusal=next((each.refusal for each in tallies if each.refusal), ""),
    )


def load_of(message: dict[str, Any]) -> Load:
    """A load as it was sent."""
    return Load(**{each.name: message[each.name] for each in fields(Load)})


def tally_of(message: dict[str, Any]) -> Tally:
    """A tally as it was answered."""
    return Tally(**{**message, "latencies": tuple(message["latencies"])})


def message_of(value: Load | Tally) -> dict[str, Any]:
    """What is sent."""
    return asdict(value)


def member(number: int) -> str:
    """The id of the member of a number."""
    return f"member-{number:07d}"
