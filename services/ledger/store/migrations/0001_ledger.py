"""The ledger's first tables.

Every row of an account begins with its bucket. Ids and times come from the application.
"""

from alembic import op

revision = "0001"
down_revision = None

# What is written here is never changed, not even by the service itself.
append_only = ("posting", "entry")
# An account and a name that a refused command made are taken away before anybody sees them.
deletable = ("account", "directory")

TABLES = (
    """
    CREATE TABLE fact (
        name text PRIMARY KEY,
        value text NOT NULL
    )
    """,
    """
    CREATE TABLE organization (
        id text PRIMARY KEY,
        settings jsonb NOT NULL,
        version bigint NOT NULL,
        create_time timestamptz NOT NULL
    )
    """,
    # `clock` is a sandbox's now. `posted` is set by the first posting and fixes the time zone.
    """
    CREATE TABLE program (
        key bigint PRIMARY KEY,
        organization text NOT NULL REFERENCES organization (id),
        id text NOT NULL,
        display_name text NOT NULL,
        sandbox boolean NOT NULL,
        clock timestamptz,
        posted boolean NOT NULL DEFAULT false,
        revision bigint NOT NULL,
        version bigint NOT NULL,
        create_time timestamptz NOT NULL,
        UNIQUE (organization, id),
        CHECK (sandbox = (clock IS NOT NULL))
    )
    """,
    """
    CREATE TABLE program_revision (
        program bigint NOT NULL REFERENCES program (key),
        revision bigint NOT NULL,
        record_time timestamptz NOT NULL,
        actor text NOT NULL,
        reason text NOT NULL,
        config jsonb NOT NULL,
        PRIMARY KEY (program, revision)
    )
    """,
    # Which member has which surrogate: the only place where a member's id stands.
    """
    CREATE TABLE directory (
        name_bucket integer NOT NULL,
        organization text NOT NULL,
        member text NOT NULL,
        bucket integer NOT NULL,
        person bigint NOT NULL,
        PRIMARY KEY (name_bucket, organization, member)
    )
    """,
    "CREATE INDEX directory_person ON directory (bucket, person)",
    """
    CREATE TABLE account (
        bucket integer NOT NULL,
        id bigint NOT NULL,
        program bigint NOT NULL,
        person bigint NOT NULL,
        state smallint NOT NULL,
        sandbox boolean NOT NULL,
        version bigint NOT NULL CHECK (version >= 0),
        sequence bigint NOT NULL CHECK (sequence >= 0),
        digest bytea NOT NULL,
        enrol_time timestamptz NOT NULL,
        record_time timestamptz NOT NULL,
        last_activity_time timestamptz,
        next_due_time timestamptz,
        PRIMARY KEY (bucket, id),
        UNIQUE (bucket, program, person)
    ) WITH (fillfactor = 60)
    """,
    """
    CREATE INDEX account_due ON account (bucket, next_due_time)
    WHERE next_due_time IS NOT NULL AND NOT sandbox
    """,
    """
    CREATE INDEX account_due_sandbox ON account (program, next_due_time)
    WHERE next_due_time IS NOT NULL AND sandbox
    """,
    "CREATE INDEX account_listing ON account (program, id)",
    """
    CREATE TABLE balance (
        bucket integer NOT NULL,
        account bigint NOT NULL,
        currency smallint NOT NULL,
        available bigint NOT NULL CHECK (available BETWEEN 0 AND 1000000000000000),
        pending bigint NOT NULL CHECK (pending BETWEEN 0 AND 1000000000000000),
        held bigint NOT NULL CHECK (held BETWEEN 0 AND 1000000000000000),
        debt bigint NOT NULL CHECK (debt BETWEEN 0 AND 1000000000000000),
        earned bigint NOT NULL CHECK (earned BETWEEN 0 AND 1000000000000000),
        earning_reversed bigint NOT NULL CHECK (earning_reversed >= 0),
        redeemed bigint NOT NULL CHECK (redeemed >= 0),
        redemption_restored bigint NOT NULL CHECK (redemption_restored >= 0),
        expired bigint NOT NULL CHECK (expired >= 0),
        adjusted_in bigint NOT NULL CHECK (adjusted_in BETWEEN 0 AND 1000000000000000),
        adjusted_out bigint NOT NULL CHECK (adjusted_out >= 0),
        transferred_in bigint NOT NULL CHECK (transferred_in >= 0),
        transferred_out bigint NOT NULL CHECK (transferred_out >= 0),
        PRIMARY KEY (bucket, account, currency),
        CHECK (available = 0 OR debt = 0),
        CHECK (
            available + pending + held - debt
            = earned - earning_reversed - redeemed + redemption_restored - expired
            + adjusted_in - adjusted_out + transferred_in - transferred_out
        )
    ) WITH (fillfactor = 60)
    """,
    """
    CREATE TABLE lot (
        bucket integer NOT NULL,
        account bigint NOT NULL,
        sequence bigint NOT NULL,
        id uuid NOT NULL,
        currency smallint NOT NULL,
        points bigint NOT NULL CHECK (points >= 1),
        free bigint NOT NULL CHECK (free >= 0),
        held bigint NOT NULL CHECK (held >= 0),
        pending boolean NOT NULL,
        earn_time timestamptz NOT NULL,
        mature_time timestamptz NOT NULL,
        expire_time timestamptz,
        expiry_kind smallint NOT NULL,
        inactivity_months smallint NOT NULL,
        open boolean NOT NULL,
        posting bigint NOT NULL,
        PRIMARY KEY (bucket, account, sequence),
        CHECK (free + held <= points),
        CHECK (open = (free + held > 0))
    ) WITH (fillfactor = 80)
    """,
    "CREATE INDEX lot_open ON lot (bucket, account) WHERE open",
    # A posting is the change that the ledger publishes: `sequence` is its place in its
    # bucket's stream.
    """
    CREATE TABLE posting (
        bucket integer NOT NULL,
        sequence bigint NOT NULL,
        account bigint NOT NULL,
        program bigint NOT NULL,
        request_id text,
        request_digest bytea,
        version bigint NOT NULL,
        first_entry bigint NOT NULL,
        entry_count integer NOT NULL CHECK (entry_count >= 1),
        effective_time timestamptz NOT NULL,
        record_time timestamptz NOT NULL,
        revision bigint NOT NULL,
        actor text NOT NULL,
        reference text NOT NULL,
        PRIMARY KEY (bucket, sequence),
        CHECK ((request_id IS NULL) = (request_digest IS NULL))
    )
    """,
    """
    CREATE UNIQUE INDEX posting_request ON posting (bucket, account, request_id)
    WHERE request_id IS NOT NULL
    """,
    # `lot` and `draw_lots` name lots by their sequence; `forfeits` is limit, points, limit,
    # points …
    """
    CREATE TABLE entry (
        bucket integer NOT NULL,
        account bigint NOT NULL,
        sequence bigint NOT NULL,
        posting bigint NOT NULL,
        kind smallint NOT NULL,
        currency smallint,
        points bigint NOT NULL,
        available_change bigint NOT NULL,
        pending_change bigint NOT NULL,
        held_change bigint NOT NULL,
        debt_change bigint NOT NULL,
        available bigint NOT NULL CHECK (available >= 0),
        pending bigint NOT NULL CHECK (pending >= 0),
        held bigint NOT NULL CHECK (held >= 0),
        debt bigint NOT NULL CHECK (debt >= 0),
        requested bigint NOT NULL,
        effective_time timestamptz NOT NULL,
        record_time timestamptz NOT NULL,
        lot bigint,
        draw_lots bigint[],
        draw_points bigint[],
        forfeits bigint[],
        source bytea,
        counter smallint,
        counter_change bigint,
        reason text,
        mature_time timestamptz,
        expire_time timestamptz,
        expiry_kind smallint,
        inactivity_months smallint,
        digest bytea NOT NULL,
        PRIMARY KEY (bucket, account, sequence),
        CHECK (points = available_change + pending_change + held_change - debt_change)
    )
    """,
    # One row a counter and month (12 × year + month − 1), `days[d]` of day d, less the zeros
    # at its end. `points_earned` of the currency n is counter −1 − n.
    """
    CREATE TABLE counter (
        bucket integer NOT NULL,
        account bigint NOT NULL,
        counter smallint NOT NULL,
        month integer NOT NULL,
        days bigint[] NOT NULL,
        PRIMARY KEY (bucket, account, counter, month)
    ) WITH (fillfactor = 60)
    """,
    """
    CREATE TABLE head (
        bucket integer PRIMARY KEY,
        sequence bigint NOT NULL
    ) WITH (fillfactor = 10)
    """,
    # Changes that are no postings share the sequences of their bucket with them.
    """
    CREATE TABLE program_change (
        bucket integer NOT NULL,
        sequence bigint NOT NULL,
        program bigint NOT NULL,
        revision bigint NOT NULL,
        record_time timestamptz NOT NULL,
        PRIMARY KEY (bucket, sequence)
    )
    """,
)


def upgrade() -> None:
    """Create the tables."""
    for statement in TABLES:
        op.execute(statement)


def downgrade() -> None:
    """Going back would lose the book; restore a backup instead."""
    raise RuntimeError("the ledger's first migration cannot be undone")
