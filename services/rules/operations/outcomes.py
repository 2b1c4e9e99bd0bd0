"""What becomes of events within a request."""

from dataclasses import dataclass, replace
from datetime import datetime

from kernel.refusals import Refusal
from services.rules.domain.events import Event
from services.rules.store.events import LoggedEvent, State

# The ledger decided these under the account's lock, after it looked whether it knew the request:
# nothing was applied. Every other refusal (a dependency, a credential, a deadline) leaves open
# whether an earlier attempt was, so that the event stays as decided.
FINAL = frozenset(
    {
        "COUNTER_NOT_FOUND",
        "CURRENCY_NOT_FOUND",
        "EFFECTIVE_TIME_IN_FUTURE",
        "EXPIRY_STRATEGY_NOT_FOUND",
        "LIMIT_REACHED",
        "MEMBER_FROZEN",
        "MEMBER_NOT_FOUND",
        "POINTS_OVERFLOW",
        "PROGRAM_INACTIVE",
        "REQUEST_ID_REUSED",
    }
)
CHANGED = "PRECONDITION_CHANGED"


@dataclass(frozen=True, slots=True)
class Asked:
    """One event of a request. `path` names it there, and `level` is the round it belongs to."""

    place: int
    path: str
    event: Event
    effective_time: datetime
    level: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an event. `account` and `membership` are messages in bytes.

    `moved` tells that this request made a posting, so that the member is evaluated.
    """

    event: LoggedEvent
    replayed: bool = False
    moved: bool = False
    account: bytes | None = None
    membership: bytes | None = None


Result = Outcome | Refusal


def posted(event: LoggedEvent, posting: bytes) -> LoggedEvent:
    """The event after the ledger recorded what it came to."""
    return replace(event, state=State.DONE, posting=posting, refusal=None)
