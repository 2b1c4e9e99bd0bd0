"""A ladder's definition as it is stored."""

from decimal import Decimal
from typing import Any

from kernel.calendar import Period
from services.tiers.domain.ladder import Criterion, Ladder, Match, Tier, Window

Json = dict[str, Any]


def ladder_to_json(ladder: Ladder) -> Json:
    """The definition of a ladder, without its id and version."""
    return {
        "display_name": ladder.display_name,
        "tiers": [_tier_to_json(tier) for tier in ladder.tiers],
    }


def ladder_from_json(ladder: str, version: int, definition: Json) -> Ladder:
    """The ladder of a stored definition."""
    return Ladder(
        id=ladder,
        tiers=tuple(_tier_from_json(tier) for tier in definition["tiers"]),
        display_name=definition["display_name"],
        version=version,
    )


def _tier_to_json(tier: Tier) -> Json:
    return {
        "id": tier.id,
        "display_name": tier.display_name,
        "criteria": [
            {
                "counter": each.window.counter,
                "period": int(each.window.period),
                "length": each.window.length,
                "threshold": each.threshold,
            }
            for each in tier.criteria
        ],
        "match": int(tier.match),
        "earning_rate": str(tier.earning_rate),
        "benefits": list(tier.benefits),
    }


def _tier_from_json(tier: Json) -> Tier:
    return Tier(
        id=tier["id"],
        display_name=tier["display_name"],
        criteria=tuple(
            Criterion(
                Window(each["counter"], Period(each["period"]), each["length"]), each["threshold"]
            )
            for each in tier["criteria"]
        ),
        match=Match(tier["match"]),
        earning_rate=Decimal(tier["earning_rate"]),
        benefits=tuple(tier["benefits"]),
    )
