"""Who belongs: criteria as conditions on the rows of profiles that the ledger made.

The same meaning as `domain.criteria.evaluate`, over all members of a program in one pass.
"""

from collections.abc import Sequence

from chassis.database import Connection
from services.audience.domain.criteria import Criterion, Field
from services.audience.store.profiles import STRIDE
from services.audience.store.programs import ProgramRow

# Where a field stands among the numbers of its currency, from 1 as Postgres counts.
_OFFSETS = {
    Field.AVAILABLE: 1,
    Field.BALANCE: 2,
    Field.LIFETIME_EARNED: 3,
    Field.LIFETIME_NET: 4,
}


async def count(connection: Connection, program: ProgramRow, criteria: Sequence[Criterion]) -> int:
    """How many members meet all criteria."""
    condition, values = _condition(criteria, program.currencies, first=2)
    size: int = await connection.fetchval(
        f"SELECT count(*) FROM profile WHERE program = $1 AND sequence > 0{condition}",
        program.key,
        *values,
    )
    return size


async def page(
    connection: Connection,
    program: ProgramRow,
    criteria: Sequence[Criterion],
    after: str,
    size: int,
) -> list[str]:
    """At most `size` members after a member's id who meet all criteria, by member id."""
    condition, values = _condition(criteria, program.currencies, first=4)
    rows = await connection.fetch(
        "SELECT member FROM profile WHERE program = $1 AND member > $2 AND sequence > 0"
        f"{condition} ORDER BY member LIMIT $3",
        program.key,
        after,
        size,
        *values,
    )
    return [row[0] for row in rows]


def _condition(
    criteria: Sequence[Criterion], currencies: Sequence[str], *, first: int
) -> tuple[str, list[object]]:
    """The conditions as SQL that follows others, and the values bound from `$first` on."""
    parts: list[str] = []
    values: list[object] = []

    def bind(value: object) -> str:
        values.append(value)
        return f"${first + len(values) - 1}"

    for criterion in criteria:
        if criterion.field is Field.TIER:
            parts.append(f"tier = ANY ({bind(list(criterion.tiers))}::text[])")
            continue
        number = _number(criterion, currencies)
        if criterion.minimum is not None:
            parts.append(f"{number} >= {bind(criterion.minimum)}::bigint")
        if criterion.maximum is not None:
            parts.append(f"{number} <= {bind(criterion.maximum)}::bigint")
    return "".join(f" AND {part}" for part in parts), values


def _number(criterion: Criterion, currencies: Sequence[str]) -> str:
    if criterion.currency not in currencies:
        return "0"
    place = currencies.index(criterion.currency) * STRIDE + _OFFSETS[criterion.field]
    return f"coalesce(amounts[{place}], 0)"
