"""How many buckets a database has: fixed when it is created, checked at every start.

The tables `fact` and `head` are those of a service with streams.
"""

from chassis.database import Connection

# Everything that starts at the same moment against a new database asks for the same row first.
_STATE_BUCKETS = """
INSERT INTO fact (name, value) VALUES ('buckets', $1) ON CONFLICT (name) DO NOTHING
"""

_READ_BUCKETS = """
SELECT value FROM fact WHERE name = 'buckets'
"""

_FILL_HEADS = """
INSERT INTO head (bucket, sequence)
SELECT bucket, 0 FROM generate_series(0, $1::integer - 1) AS bucket
ON CONFLICT (bucket) DO NOTHING
"""


class BucketsDiffer(Exception):
    """The database was created with another number of buckets than the settings say."""


async def ensure_buckets(connection: Connection, buckets: int) -> None:
    """State the number of buckets of a new database, or check that of an existing one.

    Raises BucketsDiffer: rows were placed by the number that the database was created with.
    """
    async with connection.transaction():
        await connection.execute(_STATE_BUCKETS, str(buckets))
        stored = int(await connection.fetchval(_READ_BUCKETS))
        if stored != buckets:
            raise BucketsDiffer(
                f"the database was created with {stored} buckets, the settings say {buckets}"
            )
        await connection.execute(_FILL_HEADS, buckets)
