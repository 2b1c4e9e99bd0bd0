"""Programs whose accounts are looked at again, and how far that has come."""

from chassis.database import Connection
from services.ledger.store.accounts import Key

_ANY = """
SELECT w.program, w.after
FROM waking w JOIN program p ON p.key = w.program
WHERE CASE WHEN $1::bigint IS NULL THEN p.clock IS NULL ELSE w.program = $1 END
ORDER BY w.program LIMIT 1
"""

_PAGE = """
SELECT bucket, id FROM account WHERE program = $1 AND id > $2 AND sequence > 0
ORDER BY id LIMIT $3
"""

_MOVE = "UPDATE waking SET after = $3 WHERE program = $1 AND after = $2"

_END = "DELETE FROM waking WHERE program = $1 AND after = $2"


async def waking(connection: Connection, program: int | None) -> tuple[int, int] | None:
    """A program to wake and the account after which; any one on the server's clock for None."""
    row = await connection.fetchrow(_ANY, program)
    return None if row is None else (row[0], row[1])


async def page_after(connection: Connection, program: int, after: int, limit: int) -> list[Key]:
    """At most `limit` accounts of a program after one of them."""
    rows = await connection.fetch(_PAGE, program, after, limit)
    return [(row[0], row[1]) for row in rows]


async def woken(connection: Connection, program: int, after: int, last: int | None) -> None:
    """The accounts up to `last` were looked at; None where there was none left.

    Nothing changes where somebody else was quicker, or has begun again.
    """
    async with connection.transaction():
        # The connections that read are kept from writing by mistake; this is none.
        await connection.execute("SET TRANSACTION READ WRITE")
        if last is None:
            await connection.execute(_END, program, after)
        else:
            await connection.execute(_MOVE, program, after, last)
