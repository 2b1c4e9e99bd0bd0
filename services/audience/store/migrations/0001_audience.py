"""The first tables of the audience service."""

from alembic import op

revision = "0001"
down_revision = None

deletable = ("audience",)

TABLES = (
    # `currencies` gives each currency its place in a profile's amounts: appended, never moved.
    # `version` counts the changes of the program's audiences.
    """
    CREATE TABLE program (
        key bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
        organization text NOT NULL,
        id text NOT NULL,
        currencies text[] NOT NULL DEFAULT '{}',
        version bigint NOT NULL DEFAULT 0,
        UNIQUE (organization, id)
    )
    """,
    # `sequence` is the last entry of the ledger that is in it, 0 where only the tier is known.
    # `amounts` holds four numbers a currency: available, balance, lifetime earned, lifetime net.
    """
    CREATE TABLE profile (
        program bigint NOT NULL REFERENCES program (key),
        member text COLLATE "C" NOT NULL,
        sequence bigint NOT NULL DEFAULT 0 CHECK (sequence >= 0),
        amounts bigint[] NOT NULL DEFAULT '{}' CHECK (cardinality(amounts) % 4 = 0),
        tier text NOT NULL DEFAULT '',
        last_activity_time timestamptz,
        enrol_time timestamptz,
        PRIMARY KEY (program, member)
    ) WITH (fillfactor = 80)
    """,
    """
    CREATE TABLE audience (
        program bigint NOT NULL REFERENCES program (key),
        id text COLLATE "C" NOT NULL,
        display_name text NOT NULL,
        group_id text NOT NULL,
        criteria jsonb NOT NULL,
        version bigint NOT NULL CHECK (version >= 1),
        PRIMARY KEY (program, id)
    )
    """,
    # How far the streams of other services were followed.
    """
    CREATE TABLE followed (
        stream text NOT NULL,
        bucket integer NOT NULL,
        sequence bigint NOT NULL CHECK (sequence >= 0),
        PRIMARY KEY (stream, bucket)
    ) WITH (fillfactor = 10)
    """,
    # Until when everything is applied that a stream's service recorded, by that service's clock.
    """
    CREATE TABLE followed_time (
        stream text PRIMARY KEY,
        reached_time timestamptz NOT NULL
    ) WITH (fillfactor = 10)
    """,
)


def upgrade() -> None:
    """Create the tables."""
    for statement in TABLES:
        op.execute(statement)


def downgrade() -> None:
    """Going back would lose the audiences; restore a backup instead."""
    raise RuntimeError("the first migration of the audience service cannot be undone")
