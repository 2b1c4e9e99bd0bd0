"""Profiles: one row a member, with four numbers a currency in one array.

The array is read and written as a whole: an update is one row version that touches no index, and
evaluating criteria is one pass without a join.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from chassis.database import Connection
from services.audience.domain.profile import NOTHING, Holding, Profile
from services.audience.store.programs import ProgramRow

STRIDE = 4

_LOAD = """
SELECT p.program, p.member, p.sequence, p.amounts, p.tier, p.last_activity_time, p.enrol_time
FROM unnest($1::bigint[], $2::text[]) AS k (program, member)
JOIN profile p ON p.program = k.program AND p.member = k.member
"""

# Rows are written in the order of their keys by one statement, so that followers of two streams
# never deadlock.

#
# Arrays of arrays cannot be bound, so each row's amounts come as the text of one array.
_SAVE = """
INSERT INTO profile (program, member, sequence, amounts, last_activity_time, enrol_time)
SELECT k.program, k.member, k.sequence, k.amounts::bigint[], k.last_activity, k.enrolled
FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::text[], $5::timestamptz[],
    $6::timestamptz[]) WITH ORDINALITY
    AS k (program, member, sequence, amounts, last_activity, enrolled, place)
ORDER BY k.place
ON CONFLICT (program, member) DO UPDATE SET
    sequence = excluded.sequence,
    amounts = excluded.amounts,
    last_activity_time = excluded.last_activity_time,
    enrol_time = excluded.enrol_time
"""

_SAVE_TIERS = """
INSERT INTO profile (program, member, tier)
SELECT k.program, k.member, k.tier
FROM unnest($1::bigint[], $2::text[], $3::text[]) WITH ORDINALITY
    AS k (program, member, tier, place)
ORDER BY k.place
ON CONFLICT (program, member) DO UPDATE SET tier = excluded.tier
"""

# Of whom only the tier was heard is not known to be a member.
_FIND = """
SELECT g.key, g.version, g.currencies,
    p.sequence, p.amounts, p.tier, p.last_activity_time, p.enrol_time
FROM program g LEFT JOIN profile p ON p.program = g.key AND p.member = $3 AND p.sequence > 0
WHERE g.organization = $1 AND g.id = $2
"""

# The ledger and the tiers say it each for themselves, and each takes back what it told: who has the
# id by then may have been heard of by the other one already.
_ERASE = """
UPDATE profile p
SET sequence = 0, amounts = '{}', last_activity_time = NULL, enrol_time = NULL
FROM program g WHERE g.organization = $1 AND p.program = g.key AND p.member = $2
"""

_ERASE_TIERS = """
UPDATE profile p SET tier = ''
FROM program g WHERE g.organization = $1 AND p.program = g.key AND p.member = $2
"""

_DELETE = """
DELETE FROM profile p USING program g
WHERE g.organization = $1 AND p.program = g.key AND p.member = $2
    AND p.sequence = 0 AND p.tier = ''
"""

Key = tuple[int, str]
"""A program's key and a member's id."""


@dataclass(frozen=True, slots=True)
class StoredProfile:
    """A member's profile with its program as it is; `profile` is None where there is none."""

    program: ProgramRow
    profile: Profile | None


async def find(
    connection: Connection, organization: str, program: str, member: str
) -> StoredProfile | None:
    """A member's profile, read in one statement; None where the program is not known."""
    row = await connection.fetchrow(_FIND, organization, program, member)
    if row is None:
        return None
    found = ProgramRow(row[0], row[1], tuple(row[2]))
    if row[3] is None:
        return StoredProfile(found, None)
    return StoredProfile(found, _profile(row[3], row[4], row[5], row[6], row[7], found.currencies))


async def load(
    connection: Connection, keys: Sequence[Key], currencies: Mapping[int, Sequence[str]]
) -> dict[Key, Profile]:
    """Those of the profiles that exist.

    They are not locked: what the ledger says of a member is written by nobody but whoever holds
    the cursor of the member's bucket.
    """
    rows = await connection.fetch(_LOAD, [key[0] for key in keys], [key[1] for key in keys])
    return {
        (row[0], row[1]): _profile(row[2], row[3], row[4], row[5], row[6], currencies[row[0]])
        for row in rows
    }


async def save(
    connection: Connection,
    profiles: Mapping[Key, Profile],
    currencies: Mapping[int, Sequence[str]],
) -> None:
    """Insert or replace what the ledger says of members; tiers stay as they are."""
    ordered = sorted(profiles)
    found = [profiles[key] for key in ordered]
    await connection.execute(
        _SAVE,
        [key[0] for key in ordered],
        [key[1] for key in ordered],
        [profile.sequence for profile in found],
        [
            _amounts(profile, currencies[key[0]])
            for key, profile in zip(ordered, found, strict=True)
        ],
        [profile.last_activity_time for profile in found],
        [profile.enrol_time for profile in found],
    )


async def save_tiers(connection: Connection, tiers: Mapping[Key, str]) -> None:
    """Insert or replace members' tiers; what the ledger says stays as it is."""
    ordered = sorted(tiers)
    await connection.execute(
        _SAVE_TIERS,
        [key[0] for key in ordered],
        [key[1] for key in ordered],
        [tiers[key] for key in ordered],
    )


async def erase(connection: Connection, organization: str, member: str) -> None:
    """Forget what the ledger said of a member of an organization, and who has no more to say."""
    await connection.execute(_ERASE, organization, member)
    await connection.execute(_DELETE, organization, member)


async def erase_tiers(connection: Connection, organization: str, member: str) -> None:
    """Forget what the tiers said of a member of an organization, and who has no more to say."""
    await connection.execute(_ERASE_TIERS, organization, member)
    await connection.execute(_DELETE, organization, member)


def _profile(
    sequence: int,
    amounts: Sequence[int],
    tier: str,
    last_activity_time: datetime | None,
    enrol_time: datetime | None,
    currencies: Sequence[str],
) -> Profile:
    holdings = {
        currency: Holding(*amounts[place * STRIDE : (place + 1) * STRIDE])
        for place, currency in enumerate(currencies)
        if place * STRIDE < len(amounts)
    }
    return Profile(sequence, holdings, tier, last_activity_time, enrol_time)


def _amounts(profile: Profile, currencies: Sequence[str]) -> str:
    numbers: list[str] = []
    for currency in currencies:
        held = profile.holdings.get(currency, NOTHING)
        numbers += (str(held.available), str(held.balance), str(held.earned), str(held.net))
    return "{" + ",".join(numbers) + "}"
