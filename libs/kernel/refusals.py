"""Refusals: a rule said no.

A domain raises a subclass of `Refusal`; the chassis turns it into a `google.rpc.Status` in one
place, with the code and the HTTP status that `REASONS` gives its reason. The reasons are those of
`loyalty.errors.v1.Reason`; a test ties the two together.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import ClassVar


class Code(Enum):
    """The gRPC codes that are answered, with their numbers."""

    CANCELLED = 1
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    UNAUTHENTICATED = 16


@dataclass(frozen=True, slots=True)
class ReasonRow:
    """How a reason is answered: gRPC code, HTTP status, and keys of metadata that may come."""

    code: Code
    http: int
    metadata: tuple[str, ...] = ()


_NOT_FOUND = {
    "ORGANIZATION_NOT_FOUND": "organization",
    "PROGRAM_NOT_FOUND": "program",
    "MEMBER_NOT_FOUND": "member",
    "CURRENCY_NOT_FOUND": "currency",
    "COUNTER_NOT_FOUND": "counter",
    "EXPIRY_STRATEGY_NOT_FOUND": "strategy",
    "POSTING_NOT_FOUND": "posting",
    "EVENT_NOT_FOUND": "event",
    "EVENT_TYPE_UNKNOWN": "type",
    "EARNING_RULE_NOT_FOUND": "rule",
    "LADDER_NOT_FOUND": "ladder",
    "AUDIENCE_NOT_FOUND": "audience",
    "HOLD_NOT_FOUND": "hold",
    "GROUP_NOT_FOUND": "group",
    "CHECKPOINT_NOT_FOUND": "checkpoint",
    "REVISION_NOT_FOUND": "revision",
}
_EXISTS = {
    "ORGANIZATION_EXISTS": ("organization",),
    "PROGRAM_EXISTS": ("program",),
    "CURRENCY_EXISTS": ("currency",),
    "COUNTER_EXISTS": ("counter",),
    "MEMBER_EXISTS": ("member",),
    "EARNING_RULE_EXISTS": ("rule",),
    "LADDER_EXISTS": ("ladder",),
    "AUDIENCE_EXISTS": ("audience",),
    "GROUP_EXISTS": ("group",),
    "IDENTIFIER_EXISTS": ("kind",),
    "REQUEST_ID_REUSED": ("request_id", "posting"),
}
_RULE_SAID_NO = {
    "EFFECTIVE_TIME_IN_FUTURE": ("now",),
    "PROGRAM_INACTIVE": ("start", "end", "until"),
    "MEMBER_FROZEN": ("member",),
    "IN_DEBT": ("debt",),
    "BELOW_MINIMUM_BALANCE": ("available", "required", "shortfall"),
    "NOT_A_MULTIPLE_OF_STEP": ("step",),
    "INSUFFICIENT_POINTS": ("available", "required", "shortfall"),
    "LIMIT_REACHED": ("limit_name", "limit", "count"),
    "POINTS_OVERFLOW": ("limit",),
    "NOT_SANDBOX": (),
    "CLOCK_GOES_BACK": ("now",),
    "SETTING_FIXED": ("field",),
    "MONEY_CURRENCY_MISMATCH": ("currency", "expected"),
    "TIER_IN_USE": ("tier",),
    "RANGES_OVERLAP": ("audience", "group"),
    "SETTING_OFF": ("setting",),
    "HOLD_CLOSED": ("hold", "state"),
    "REVERSAL_EXCEEDS": ("available", "required", "shortfall"),
    "NOT_REVERSIBLE": ("posting",),
    "NOTHING_PENDING": (),
    "MEMBER_NOT_FROZEN": ("member",),
    "PERMISSION_MISSING": ("role", "permission"),
    "MEMBER_IN_GROUP": ("member", "group"),
    "MEMBER_NOT_IN_GROUP": ("member", "group"),
    "HOLD_OPEN": ("count",),
    "MEMBER_MERGED": ("member",),
    "CHECKPOINTS_NOT_KEPT": (),
    "CHECKPOINTS_BROKEN": ("checkpoint", "problem"),
}

# Keys that any refusal of an operation within a larger request may add.
SHARED_METADATA = ("operation", "field")

REASONS: dict[str, ReasonRow] = {
    "FAULT": ReasonRow(Code.INTERNAL, 500, ("id",)),
    "DEPENDENCY_UNAVAILABLE": ReasonRow(Code.UNAVAILABLE, 503, ("dependency",)),
    "OVERLOADED": ReasonRow(Code.RESOURCE_EXHAUSTED, 429),
    "DEADLINE_PASSED": ReasonRow(Code.DEADLINE_EXCEEDED, 504),
    "QUOTA_EXCEEDED": ReasonRow(Code.RESOURCE_EXHAUSTED, 429, ("limit", "retry_after_seconds")),
    "METHOD_NOT_SERVED": ReasonRow(Code.UNIMPLEMENTED, 501),
    "INVALID_FIELD": ReasonRow(Code.INVALID_ARGUMENT, 400, ("field",)),
    "INVALID_PAGE_TOKEN": ReasonRow(Code.INVALID_ARGUMENT, 400, ("field",)),
    "UNREADABLE_BODY": ReasonRow(Code.INVALID_ARGUMENT, 422, ("field",)),
    "ROUTE_NOT_FOUND": ReasonRow(Code.UNIMPLEMENTED, 404),
    "MESSAGE_TOO_LARGE": ReasonRow(Code.INVALID_ARGUMENT, 413, ("limit",)),
    "CREDENTIAL_MISSING": ReasonRow(Code.UNAUTHENTICATED, 401),
    "CREDENTIAL_INVALID": ReasonRow(Code.UNAUTHENTICATED, 401),
    "SCOPE_MISSING": ReasonRow(Code.PERMISSION_DENIED, 403, ("scope",)),
    **{reason: ReasonRow(Code.NOT_FOUND, 404, (key,)) for reason, key in _NOT_FOUND.items()},
    **{reason: ReasonRow(Code.ALREADY_EXISTS, 409, keys) for reason, keys in _EXISTS.items()},
    "PRECONDITION_CHANGED": ReasonRow(
        Code.ABORTED, 409, ("version", "expected_version", "counter", "expected", "actual")
    ),
    "ETAG_STALE": ReasonRow(Code.ABORTED, 412, ("etag",)),
    **{
        reason: ReasonRow(Code.FAILED_PRECONDITION, 409, keys)
        for reason, keys in _RULE_SAID_NO.items()
    },
}


class Refusal(Exception):
    """A rule said no. Subclasses name the reason; `metadata` says with which numbers.

    Metadata values are strings; numbers are decimal.
    """

    reason: ClassVar[str]

    def __init__(self, message: str, **metadata: object) -> None:
        super().__init__(message)
        self.message = message
        self.metadata = {key: str(value) for key, value in metadata.items()}

    def row(self) -> ReasonRow:
        """How this refusal is answered."""
        return REASONS[self.reason]


_PASSED: dict[str, type[Refusal]] = {
    reason: type(reason, (Refusal,), {"reason": reason, "__doc__": "As another service said it."})
    for reason in REASONS
}


def passed_on(reason: str, message: str, metadata: dict[str, str]) -> Refusal:
    """Another service's refusal as it said it; `reason` is one of `REASONS`."""
    return _PASSED[reason](message, **metadata)


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One field that is missing, malformed or out of bounds; a path such as `lines[0].amount`."""

    field: str
    description: str


class InvalidField(Refusal):
    """Fields are missing, malformed or out of bounds."""

    reason = "INVALID_FIELD"

    def __init__(self, *violations: FieldViolation) -> None:
        first = violations[0]
        super().__init__(f"{first.field}: {first.description}", field=first.field)
        self.violations = violations


class InvalidPageToken(Refusal):
    """The page token was not made for this query."""

    reason = "INVALID_PAGE_TOKEN"

    def __init__(self) -> None:
        super().__init__("the page token was not made for this query", field="page_token")


class EtagStale(Refusal):
    """The resource changed since its etag was read."""

    reason = "ETAG_STALE"

    def __init__(self, etag: str) -> None:
        super().__init__("the resource changed since its etag was read", etag=etag)


class ProgramNotFound(Refusal):
    """No such program in the caller's organization."""

    reason = "PROGRAM_NOT_FOUND"

    def __init__(self, program: str) -> None:
        super().__init__(f"there is no program {program!r}", program=program)


class MemberNotFound(Refusal):
    """No such member in the program."""

    reason = "MEMBER_NOT_FOUND"

    def __init__(self, member: str) -> None:
        super().__init__(f"there is no member {member!r}", member=member)


class CounterNotFound(Refusal):
    """The program has no such counter."""

    reason = "COUNTER_NOT_FOUND"

    def __init__(self, counter: str) -> None:
        super().__init__(f"there is no counter {counter!r}", counter=counter)


class CurrencyNotFound(Refusal):
    """The program has no such currency."""

    reason = "CURRENCY_NOT_FOUND"

    def __init__(self, currency: str) -> None:
        super().__init__(f"there is no currency {currency!r}", currency=currency)


class ExpiryStrategyNotFound(Refusal):
    """The program has no expiry strategy of that name."""

    reason = "EXPIRY_STRATEGY_NOT_FOUND"

    def __init__(self, strategy: str) -> None:
        super().__init__(f"there is no expiry strategy {strategy!r}", strategy=strategy)


class EffectiveTimeInFuture(Refusal):
    """The effective time is later than the program's now."""

    reason = "EFFECTIVE_TIME_IN_FUTURE"

    def __init__(self, now: datetime) -> None:
        super().__init__(
            "the effective time is later than the program's now",
            now=now.isoformat().replace("+00:00", "Z"),
        )


class NotSandbox(Refusal):
    """Only a sandbox program has a clock that can be advanced."""

    reason = "NOT_SANDBOX"

    def __init__(self) -> None:
        super().__init__("only a sandbox program has a clock that can be advanced")


class LimitReached(Refusal):
    """A configured limit refuses; `message` says more than which one where that is needed."""

    reason = "LIMIT_REACHED"

    def __init__(self, limit_name: str, limit: int, count: int, message: str = "") -> None:
        super().__init__(
            message or f"{limit_name} allows {limit}",
            limit_name=limit_name,
            limit=limit,
            count=count,
        )
