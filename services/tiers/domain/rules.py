"""What a ladder must be, and how a change of one is decided."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

from kernel.refusals import CounterNotFound, EtagStale, FieldViolation, InvalidField
from services.tiers.domain.ladder import Ladder

LADDERS_MAX = 1
TIERS_MAX = 20
WINDOWS_MAX = 100
RATE_MAX = Decimal(100)
CHANGEABLE = ("display_name", "tiers")


def check_ladder(ladder: Ladder, field: str) -> None:
    """Refuse what is no ladder with INVALID_FIELD; `field` is the path under which it was given."""
    violations = _tier_violations(ladder, f"{field}.tiers")
    if len(ladder.windows()) > WINDOWS_MAX:
        violations.append(
            FieldViolation(f"{field}.tiers", f"read more than {WINDOWS_MAX} different windows")
        )
    if violations:
        raise InvalidField(*violations)


def _tier_violations(ladder: Ladder, path: str) -> list[FieldViolation]:
    if not 1 <= len(ladder.tiers) <= TIERS_MAX:
        return [FieldViolation(path, f"must be 1 to {TIERS_MAX} tiers")]
    violations = []
    seen: set[str] = set()
    for place, tier in enumerate(ladder.tiers):
        at = f"{path}[{place}]"
        if tier.id in seen:
            violations.append(FieldViolation(f"{at}.tier", "is the id of an earlier tier"))
        seen.add(tier.id)
        if place == 0 and tier.criteria:
            violations.append(FieldViolation(f"{at}.criteria", "must be empty for the base"))
        if place > 0 and not tier.criteria:
            violations.append(FieldViolation(f"{at}.criteria", "must be at least one"))
        if not 0 <= tier.earning_rate <= RATE_MAX:
            violations.append(FieldViolation(f"{at}.earning_rate", f"must be 0 to {RATE_MAX}"))
    return violations


def check_counters(ladder: Ladder, known: Collection[str]) -> None:
    """Refuse with COUNTER_NOT_FOUND a ladder that reads a counter that is not known."""
    for window in ladder.windows():
        if window.counter not in known:
            raise CounterNotFound(window.counter)


def etag_of(ladder: Ladder) -> str:
    """The etag of a ladder's version."""
    return f"ladder-{ladder.version}"


def check_etag(given: str, ladder: Ladder) -> None:
    """Refuse with ETAG_STALE where an etag is given and is not the current one."""
    if given and given != etag_of(ladder):
        raise EtagStale(etag_of(ladder))


def changed(ladder: Ladder, given: Mapping[str, Any], mask: Collection[str]) -> Ladder:
    """The ladder with the fields of the mask as given; without a mask those that are set.

    `given` has the fields that are set, by name. A field of the mask that is not set goes back to
    being empty. INVALID_FIELD for a path that cannot be changed.
    """
    unknown = [path for path in mask if path not in CHANGEABLE]
    if unknown:
        raise InvalidField(
            *(FieldViolation("update_mask", f"{path!r} cannot be changed") for path in unknown)
        )
    empty: dict[str, Any] = {"display_name": "", "tiers": ()}
    fields = {path: given.get(path, empty[path]) for path in mask} if mask else dict(given)
    return replace(ladder, **fields)


def taken_out(before: Ladder, after: Ladder) -> tuple[str, ...]:
    """The tiers that the later ladder has no more, in their order."""
    kept = {tier.id for tier in after.tiers}
    return tuple(tier.id for tier in before.tiers if tier.id not in kept)
