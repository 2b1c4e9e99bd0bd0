"""The first tables of rules. Ids and times come from the application."""

from alembic import op

revision = "0001"
down_revision = None

# A published version is never changed, not even by the service itself.
append_only = ("ruleset",)
# A visit that a refused event counted is given back.
deletable = ("visit",)

TABLES = (
    # `ruleset` is the version in force; 0 where the program changed nothing yet.
    """
    CREATE TABLE program (
        key bigint PRIMARY KEY,
        organization text NOT NULL,
        id text NOT NULL,
        ruleset bigint NOT NULL CHECK (ruleset >= 0),
        UNIQUE (organization, id)
    )
    """,
    """
    CREATE TABLE ruleset (
        program bigint NOT NULL REFERENCES program (key),
        version bigint NOT NULL CHECK (version >= 1),
        record_time timestamptz NOT NULL,
        actor text NOT NULL,
        snapshot jsonb NOT NULL,
        PRIMARY KEY (program, version)
    )
    """,
    # The event log. `number` grows with the time of logging. `attempt` counts what was written
    # of how the event goes on, so that whoever acts on an older reading writes nothing. `due_time`
    # is when a job takes an unfinished event up again.
    """
    CREATE TABLE event (
        program bigint NOT NULL,
        id text NOT NULL,
        number bigint NOT NULL,
        member text NOT NULL,
        type text NOT NULL,
        store text NOT NULL,
        state smallint NOT NULL CHECK (state BETWEEN 1 AND 4),
        attempt integer NOT NULL CHECK (attempt >= 1),
        digest bytea NOT NULL,
        content bytea NOT NULL,
        effective_time timestamptz NOT NULL,
        create_time timestamptz NOT NULL,
        actor text NOT NULL,
        ruleset bigint NOT NULL,
        trace text NOT NULL,
        visit_day date,
        post bytea,
        posting bytea,
        refusal text,
        due_time timestamptz,
        PRIMARY KEY (program, id),
        CHECK ((state IN (1, 2)) = (due_time IS NOT NULL)),
        CHECK (state <> 2 OR post IS NOT NULL),
        CHECK (state <> 3 OR (post IS NULL) = (posting IS NULL)),
        CHECK ((state = 4) = (refusal IS NOT NULL))
    )
    """,
    "CREATE INDEX event_listing ON event (program, number, id)",
    "CREATE INDEX event_of_member ON event (program, member, number, id)",
    "CREATE INDEX event_of_type ON event (program, type, number, id)",
    "CREATE INDEX event_due ON event (due_time) WHERE due_time IS NOT NULL",
    # At most one visit a member, store and local day: the event that counted it.
    """
    CREATE TABLE visit (
        program bigint NOT NULL,
        member text NOT NULL,
        store text NOT NULL,
        day date NOT NULL,
        event text NOT NULL,
        PRIMARY KEY (program, member, store, day)
    )
    """,
)


def upgrade() -> None:
    """Create the tables."""
    for statement in TABLES:
        op.execute(statement)


def downgrade() -> None:
    """Going back would lose the log; restore a backup instead."""
    raise RuntimeError("the first migration of rules cannot be undone")
