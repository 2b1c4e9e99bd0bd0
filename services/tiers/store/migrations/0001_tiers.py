"""The first tables of the tiers.

Every row of a member begins with its bucket. Ids and times come from the application.
"""

from alembic import op

revision = "0001"
down_revision = None

# What was decided is never changed, not even by the service itself.
append_only = ("ladder_version", "change")

TABLES = (
    """
    CREATE TABLE fact (
        name text PRIMARY KEY,
        value text NOT NULL
    )
    """,
    # Which version is in force. One ladder a program: the constraint `ladder_one` says so.
    """
    CREATE TABLE ladder (
        organization text NOT NULL,
        program text NOT NULL,
        id text NOT NULL,
        version bigint NOT NULL CHECK (version >= 1),
        PRIMARY KEY (organization, program, id),
        CONSTRAINT ladder_one UNIQUE (organization, program)
    )
    """,
    """
    CREATE TABLE ladder_version (
        organization text NOT NULL,
        program text NOT NULL,
        ladder text NOT NULL,
        version bigint NOT NULL CHECK (version >= 1),
        record_time timestamptz NOT NULL,
        actor text NOT NULL,
        definition jsonb NOT NULL,
        PRIMARY KEY (organization, program, ladder, version)
    )
    """,
    """
    CREATE TABLE membership (
        bucket integer NOT NULL,
        organization text NOT NULL,
        program text NOT NULL,
        ladder text NOT NULL,
        member text NOT NULL,
        tier text NOT NULL,
        since timestamptz NOT NULL,
        ladder_version bigint NOT NULL CHECK (ladder_version >= 1),
        PRIMARY KEY (bucket, organization, program, ladder, member)
    ) WITH (fillfactor = 80)
    """,
    "CREATE INDEX membership_tier ON membership (organization, program, ladder, tier)",
    """
    CREATE TABLE head (
        bucket integer PRIMARY KEY,
        sequence bigint NOT NULL
    ) WITH (fillfactor = 10)
    """,
    # What is published, and a member's history: `member` is null where a ladder changed. `criteria`
    # are the values of the criteria of the tier reached, in their order.
    """
    CREATE TABLE change (
        bucket integer NOT NULL,
        sequence bigint NOT NULL,
        organization text NOT NULL,
        program text NOT NULL,
        record_time timestamptz NOT NULL,
        ladder text NOT NULL,
        ladder_version bigint NOT NULL,
        member text,
        from_tier text,
        to_tier text,
        cause smallint,
        effective_time timestamptz,
        criteria bigint[],
        PRIMARY KEY (bucket, sequence),
        CHECK (num_nulls(member, from_tier, to_tier, cause, effective_time, criteria) IN (0, 6))
    )
    """,
    """
    CREATE INDEX change_history ON change (bucket, organization, program, member, sequence)
    WHERE member IS NOT NULL
    """,
    # How far the streams of other services were followed.
    """
    CREATE TABLE followed (
        stream text NOT NULL,
        bucket integer NOT NULL,
        sequence bigint NOT NULL,
        PRIMARY KEY (stream, bucket)
    ) WITH (fillfactor = 10)
    """,
)


def upgrade() -> None:
    """Create the tables."""
    for statement in TABLES:
        op.execute(statement)


def downgrade() -> None:
    """Going back would lose where members stand; restore a backup instead."""
    raise RuntimeError("the first migration of the tiers cannot be undone")
