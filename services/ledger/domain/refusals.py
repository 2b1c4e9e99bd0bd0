"""The ledger's refusals: a rule said no, and with which numbers."""

from datetime import datetime

from kernel.refusals import Refusal
from services.ledger.domain.config import POINTS_MAX


class PostingNotFound(Refusal):
    """No such posting in the program."""

    reason = "POSTING_NOT_FOUND"

    def __init__(self, posting: str) -> None:
        super().__init__(f"there is no posting {posting!r}", posting=posting)


class MemberExists(Refusal):
    """The member is enrolled already, and not by this request id."""

    reason = "MEMBER_EXISTS"

    def __init__(self, member: str) -> None:
        super().__init__(f"member {member!r} is enrolled already", member=member)


class RequestIdReused(Refusal):
    """The request id is recorded for another request of this member."""

    reason = "REQUEST_ID_REUSED"

    def __init__(self, request_id: str, posting: str) -> None:
        super().__init__(
            f"request id {request_id!r} is recorded for another request",
            request_id=request_id,
            posting=posting,
        )


class VersionChanged(Refusal):
    """The account's version is not the expected one."""

    reason = "PRECONDITION_CHANGED"

    def __init__(self, version: int, expected_version: int) -> None:
        super().__init__(
            f"the account's version is {version}, not {expected_version}",
            version=version,
            expected_version=expected_version,
        )


class CounterChanged(Refusal):
    """A counter that the caller read has another value now."""

    reason = "PRECONDITION_CHANGED"

    def __init__(self, counter: str, expected: int, actual: int) -> None:
        super().__init__(
            f"counter {counter!r} is {actual}, not {expected}",
            counter=counter,
            expected=expected,
            actual=actual,
        )


class ProgramInactive(Refusal):
    """Outside the program's time of earning, or of redeeming. Bounds that are set are named."""

    reason = "PROGRAM_INACTIVE"

    def __init__(self, **bounds: datetime | None) -> None:
        named = {
            name: bound.isoformat().replace("+00:00", "Z")
            for name, bound in bounds.items()
            if bound is not None
        }
        super().__init__("the program is not active at that time", **named)


class MemberFrozen(Refusal):
    """The member is frozen."""

    reason = "MEMBER_FROZEN"

    def __init__(self, member: str) -> None:
        super().__init__(f"member {member!r} is frozen", member=member)


class InDebt(Refusal):
    """The member owes points; they are repaid by earning."""

    reason = "IN_DEBT"

    def __init__(self, debt: int) -> None:
        super().__init__(f"the member owes {debt} points", debt=debt)


class BelowMinimumBalance(Refusal):
    """The available balance is below what redeeming needs."""

    reason = "BELOW_MINIMUM_BALANCE"

    def __init__(self, available: int, required: int) -> None:
        super().__init__(
            f"redeeming needs a balance of {required} points, {available} are available",
            available=available,
            required=required,
            shortfall=required - available,
        )


class NotAMultipleOfStep(Refusal):
    """The points are no multiple of the step."""

    reason = "NOT_A_MULTIPLE_OF_STEP"

    def __init__(self, step: int) -> None:
        super().__init__(f"points are redeemed in multiples of {step}", step=step)


class InsufficientPoints(Refusal):
    """Fewer points are available than the command takes."""

    reason = "INSUFFICIENT_POINTS"

    def __init__(self, available: int, required: int) -> None:
        super().__init__(
            f"{required} points are needed, {available} are available",
            available=available,
            required=required,
            shortfall=required - available,
        )


class PointsOverflow(Refusal):
    """A number would leave ±10^15."""

    reason = "POINTS_OVERFLOW"

    def __init__(self) -> None:
        super().__init__("a number would leave ±10^15", limit=POINTS_MAX)


class SettingOff(Refusal):
    """The program's settings do not allow it."""

    reason = "SETTING_OFF"

    def __init__(self, setting: str) -> None:
        super().__init__(f"{setting} is off", setting=setting)


class PermissionMissing(Refusal):
    """The member's role in the group does not permit it."""

    reason = "PERMISSION_MISSING"

    def __init__(self, role: str, permission: str) -> None:
        super().__init__(
            f"the role {role!r} does not permit {permission}", role=role, permission=permission
        )


class HoldOpen(Refusal):
    """Points are held; the holds must end first."""

    reason = "HOLD_OPEN"

    def __init__(self, count: int) -> None:
        super().__init__("points are held", count=count)


class MemberInGroup(Refusal):
    """The member belongs to a group, which it must leave first."""

    reason = "MEMBER_IN_GROUP"

    def __init__(self, member: str, group: str) -> None:
        super().__init__(
            f"member {member!r} belongs to group {group!r}", member=member, group=group
        )


class HoldNotFound(Refusal):
    """No such hold in the program, or not of the member named."""

    reason = "HOLD_NOT_FOUND"

    def __init__(self, hold: str) -> None:
        super().__init__(f"there is no hold {hold!r}", hold=hold)


class HoldClosed(Refusal):
    """The hold was captured, released or lapsed."""

    reason = "HOLD_CLOSED"

    def __init__(self, hold: str, state: str) -> None:
        super().__init__(f"the hold is {state.lower()}", hold=hold, state=state)


class NotReversible(Refusal):
    """The posting moved points that are not taken back or given back this way."""

    reason = "NOT_REVERSIBLE"

    def __init__(self, posting: str) -> None:
        super().__init__("the posting cannot be reversed", posting=posting)


class ReversalExceeds(Refusal):
    """More is asked back than is left of what was posted."""

    reason = "REVERSAL_EXCEEDS"

    def __init__(self, available: int, required: int) -> None:
        super().__init__(
            f"{available} are left to be reversed, {required} are asked for",
            available=available,
            required=required,
            shortfall=required - available,
        )


class NothingPending(Refusal):
    """No points are pending."""

    reason = "NOTHING_PENDING"

    def __init__(self) -> None:
        super().__init__("no points are pending")


class MemberNotFrozen(Refusal):
    """The member is not frozen."""

    reason = "MEMBER_NOT_FROZEN"

    def __init__(self, member: str) -> None:
        super().__init__(f"member {member!r} is not frozen", member=member)


class MemberMerged(Refusal):
    """The member was merged into another one, which is named."""

    reason = "MEMBER_MERGED"

    def __init__(self, member: str, into: str) -> None:
        super().__init__(f"member {member!r} was merged into {into!r}", member=into)


class MemberNotInGroup(Refusal):
    """The member does not belong to the group."""

    reason = "MEMBER_NOT_IN_GROUP"

    def __init__(self, member: str, group: str) -> None:
        super().__init__(
            f"member {member!r} does not belong to {group!r}", member=member, group=group
        )


class GroupNotFound(Refusal):
    """The program has no such group or fleet."""

    reason = "GROUP_NOT_FOUND"

    def __init__(self, group: str) -> None:
        super().__init__(f"there is no group {group!r}", group=group)


class GroupExists(Refusal):
    """The program has another group or fleet of that id."""

    reason = "GROUP_EXISTS"

    def __init__(self, group: str) -> None:
        super().__init__(f"there is a group {group!r} already", group=group)
