"""Refusals about events and what they are worth."""

from kernel.refusals import Refusal


class EventNotFound(Refusal):
    """No such event in the program."""

    reason = "EVENT_NOT_FOUND"

    def __init__(self, event: str) -> None:
        super().__init__(f"there is no event {event!r}", event=event)


class EventTypeUnknown(Refusal):
    """The catalogue has no such type, or it is hidden."""

    reason = "EVENT_TYPE_UNKNOWN"

    def __init__(self, event_type: str) -> None:
        super().__init__(f"there is no event type {event_type!r}", type=event_type)


class EarningRuleNotFound(Refusal):
    """No such earning rule in the program."""

    reason = "EARNING_RULE_NOT_FOUND"

    def __init__(self, rule: str) -> None:
        super().__init__(f"there is no earning rule {rule!r}", rule=rule)


class EarningRuleExists(Refusal):
    """The program has another earning rule of that id."""

    reason = "EARNING_RULE_EXISTS"

    def __init__(self, rule: str) -> None:
        super().__init__(f"earning rule {rule!r} exists", rule=rule)


class EventIdReused(Refusal):
    """The event's id is recorded for another event."""

    reason = "REQUEST_ID_REUSED"

    def __init__(self, event: str) -> None:
        super().__init__(f"{event!r} is the id of another event", request_id=event)


class MoneyCurrencyMismatch(Refusal):
    """Money of another currency than the one that is counted."""

    reason = "MONEY_CURRENCY_MISMATCH"

    def __init__(self, currency: str, expected: str) -> None:
        super().__init__(
            f"the money is {currency}, not {expected}", currency=currency, expected=expected
        )


class PointsOverflow(Refusal):
    """A number would leave ±10^15."""

    reason = "POINTS_OVERFLOW"

    def __init__(self, limit: int) -> None:
        super().__init__(f"a number would leave ±{limit}", limit=limit)
