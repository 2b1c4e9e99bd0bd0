"""Members as they are listed: who they are and when they were enrolled.

An account without entries is not enrolled yet. A person that was merged is the one that it was
merged into.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from chassis.database import Connection
from services.ledger.domain.identifiers import etag_of_member


@dataclass(frozen=True, slots=True)
class MemberRow:
    """A member of one program. `account` is the surrogate id, which grows with enrolment."""

    member: str
    account: int
    state: int
    enrol_time: datetime
    bucket: int
    person: int
    billing_day: int | None
    kinds: Sequence[str]
    hashes: Sequence[bytes]

    @property
    def etag(self) -> str:
        """Changes with what can be changed of a member."""
        return etag_of_member(self.billing_day, zip(self.kinds, self.hashes, strict=True))


_COLUMNS = """d.member, a.id AS account, a.state, a.enrol_time, a.bucket, a.person, a.billing_day,
    ARRAY(
        SELECT i.kind FROM identifier i WHERE i.bucket = a.bucket AND i.person = a.person
        ORDER BY i.kind, i.value
    ) AS kinds,
    ARRAY(
        SELECT i.value FROM identifier i WHERE i.bucket = a.bucket AND i.person = a.person
        ORDER BY i.kind, i.value
    ) AS hashes"""

_FIND = f"""
SELECT {_COLUMNS}
FROM directory k
JOIN directory d ON d.bucket = coalesce(k.into_bucket, k.bucket)
    AND d.person = coalesce(k.into_person, k.person) AND d.into_person IS NULL
JOIN account a ON a.bucket = d.bucket AND a.person = d.person
WHERE k.name_bucket = $1 AND k.organization = $2 AND k.member = $3 AND a.program = $4
    AND a.sequence > 0
"""

_LIST = f"""
SELECT {_COLUMNS}
FROM account a JOIN directory d ON d.bucket = a.bucket AND d.person = a.person
WHERE a.program = $1 AND (a.id, a.bucket) > ($2, $3) AND d.organization = $4 AND a.sequence > 0
    AND a.kind = 1 AND ($6 OR a.link IS DISTINCT FROM 1)
ORDER BY a.id, a.bucket
LIMIT $5
"""


async def find_member(
    connection: Connection, program: int, organization: str, name_bucket: int, member: str
) -> MemberRow | None:
    """The member of a program, if enrolled."""
    row = await connection.fetchrow(_FIND, name_bucket, organization, member, program)
    return None if row is None else MemberRow(**dict(row))


async def list_members(
    connection: Connection,
    program: int,
    organization: str,
    after: tuple[int, int],
    limit: int,
    *,
    merged: bool,
) -> Sequence[MemberRow]:
    """At most `limit` people of a program after an (account, bucket), in that order.

    With `merged` also names whose accounts were merged into others.
    """
    rows = await connection.fetch(_LIST, program, *after, organization, limit, merged)
    return [MemberRow(**dict(row)) for row in rows]
