"""An audience, and what may become of it."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from kernel.refusals import EtagStale, FieldViolation, InvalidField
from services.audience.domain.criteria import Criterion, overlap
from services.audience.domain.refusals import RangesOverlap

AUDIENCES_MAX = 1_000

FIELDS = frozenset({"display_name", "criteria", "group"})
"""What an update may name."""


@dataclass(frozen=True, slots=True)
class Definition:
    """What a caller says of an audience. `group` may be empty."""

    display_name: str
    criteria: tuple[Criterion, ...]
    group: str


@dataclass(frozen=True, slots=True)
class Audience:
    """A named set of members. `version` counts its definitions, from 1."""

    id: str
    definition: Definition
    version: int

    def etag(self) -> str:
        """What tells this definition from every other that the audience had."""
        return f"{self.version:x}"


def check_etag(etag: str, audience: Audience) -> None:
    """Refuse with ETAG_STALE an etag that is not empty and not the audience's."""
    if etag not in ("", audience.etag()):
        raise EtagStale(audience.etag())


def changed(definition: Definition, given: Mapping[str, Any], mask: Collection[str]) -> Definition:
    """The definition with the fields of the mask as `given`, or empty where they are not.

    Without a mask those change that are given. INVALID_FIELD for a path that names nothing.
    """
    unknown = [path for path in mask if path not in FIELDS]
    if unknown:
        raise InvalidField(
            *(FieldViolation("update_mask", f"{path!r} names no field") for path in unknown)
        )
    empty: dict[str, Any] = {"display_name": "", "criteria": (), "group": ""}
    chosen = set(mask) or set(given)
    return replace(definition, **{path: given.get(path, empty[path]) for path in chosen})


def check_overlap(audience: str, definition: Definition, others: Iterable[Audience]) -> None:
    """Refuse with RANGES_OVERLAP where another audience of the group has an overlapping range."""
    if not definition.group:
        return
    for other in others:
        if other.id == audience or other.definition.group != definition.group:
            continue
        for one in definition.criteria:
            if any(overlap(one, each) for each in other.definition.criteria):
                raise RangesOverlap(other.id, definition.group)
