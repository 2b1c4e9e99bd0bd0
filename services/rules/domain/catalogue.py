"""The event types that the suite knows, by category, with what they are worth by default."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

PURCHASE = "purchase"


class Category(IntEnum):
    """A part of the catalogue; the numbers of the contract."""

    HIDDEN = 0
    ENGAGEMENT = 1
    CONVERSION = 2
    MESSAGE = 3
    QUEUE = 4
    DRAW = 5
    AUCTION = 6
    APPOINTMENT = 7
    WAITLIST = 8


@dataclass(frozen=True, slots=True)
class EventType:
    """One type. `points` are the default; hidden types are never configured and award nothing.

    `submittable` types may be sent by callers.
    """

    name: str
    category: Category
    points: int = 0
    submittable: bool = True

    @property
    def configurable(self) -> bool:
        """Whether a program may say what it is worth."""
        return self.category is not Category.HIDDEN


_CONFIGURABLE: Mapping[Category, Mapping[str, int]] = {
    Category.ENGAGEMENT: {"page_view": 1, "product_view": 2, "product_click": 2, "search": 1},
    # A purchase earns by its amount: points for the mere fact would be given to empty ones too.
    Category.CONVERSION: {"add_to_cart": 5, "view_cart": 2, "begin_checkout": 5, PURCHASE: 0},
    Category.MESSAGE: {"qr_scan": 10, "message_open": 2, "message_read": 3, "message_click": 5},
    Category.QUEUE: {"queue_entered": 5, "queue_admitted": 5, "queue_completed": 10},
    Category.DRAW: {"draw_entered": 5, "draw_won": 25, "draw_completed": 5},
    Category.AUCTION: {"bid_placed": 5, "bid_won": 25},
    Category.APPOINTMENT: {
        "appointment_booked": 10,
        "appointment_confirmed": 5,
        "appointment_checked_in": 15,
        "appointment_completed": 20,
    },
    Category.WAITLIST: {"waitlist_entered": 5},
}

# What members failed to do, or undid. They are logged and award nothing.
_NEGATIVE = (
    "appointment_cancelled",
    "appointment_missed",
    "bid_withdrawn",
    "cart_abandoned",
    "draw_left",
    "message_unsubscribed",
    "queue_abandoned",
    "waitlist_left",
)
# What the suite itself says, and what goes through methods of its own: nobody submits them as
# events, because taking one in without doing what it stands for would be a lie.
_SYSTEM = (
    "member_enrolled",
    "points_adjusted",
    "points_earned",
    "points_expired",
    "points_redeemed",
    "purchase_cancelled",
    "purchase_returned",
    "tier_changed",
)

CATALOGUE: Mapping[str, EventType] = {
    each.name: each
    for each in (
        *(
            EventType(name, category, points)
            for category, types in _CONFIGURABLE.items()
            for name, points in types.items()
        ),
        *(EventType(name, Category.HIDDEN) for name in _NEGATIVE),
        *(EventType(name, Category.HIDDEN, submittable=False) for name in _SYSTEM),
    )
}
"""Every type by its name, by category and in the order in which the catalogue is shown."""
