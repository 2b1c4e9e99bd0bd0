"""Holds, reversals, debt, transfers, links between accounts, identifiers, groups.

Expands only: the version before works with these tables as they are.
"""

import secrets

from alembic import op

revision = "0002"
down_revision = "0001"

# What is written here is never changed, not even by the service itself.
append_only = ("request", "program_revision", "program_change")
# An identifier is taken away from its member; a person that is erased leaves nothing here.
deletable = ("identifier", "directory", "waking")

STATEMENTS = (
    # `kind`: 1 a person, 2 a group, 3 a fleet. A linked account's commands land in the account
    # that it is linked to: 1 merged into it, 2 pooled in it. `elsewhere`: requests that were
    # addressed to it are recorded in `request`.
    """
    ALTER TABLE account
        ADD COLUMN kind smallint NOT NULL DEFAULT 1,
        ADD COLUMN billing_day smallint CHECK (billing_day BETWEEN 1 AND 31),
        ADD COLUMN link smallint,
        ADD COLUMN link_bucket integer,
        ADD COLUMN link_account bigint,
        ADD COLUMN elsewhere boolean NOT NULL DEFAULT false
    """,
    "CREATE INDEX account_link ON account (link_bucket, link_account) WHERE link IS NOT NULL",
    # Every name is a person of its own: two with one number would share an account.
    "DROP INDEX directory_person",
    "CREATE UNIQUE INDEX directory_person ON directory (bucket, person)",
    # A merged person: accounts that it has none of are those of the person it was merged into.
    "ALTER TABLE directory ADD COLUMN into_bucket integer, ADD COLUMN into_person bigint",
    """
    CREATE INDEX directory_into ON directory (into_bucket, into_person)
    WHERE into_person IS NOT NULL
    """,
    # `expired` and `repaid`: points of the lot that expired, and that repaid debt. `claim`: points
    # of a reversed earning that could not be taken; `covered`: points of other lots that were taken
    # for it. `noticed_time`: the expiry that the member was told of. The terms of expiry are kept
    # while a lot is pending. `origin_*`: the lot that this one was moved from, by merging, joining
    # or leaving.
    """
    ALTER TABLE lot
        ADD COLUMN expired bigint NOT NULL DEFAULT 0 CHECK (expired >= 0),
        ADD COLUMN repaid bigint NOT NULL DEFAULT 0 CHECK (repaid >= 0),
        ADD COLUMN claim bigint NOT NULL DEFAULT 0 CHECK (claim >= 0),
        ADD COLUMN covered bigint NOT NULL DEFAULT 0 CHECK (covered >= 0),
        ADD COLUMN noticed_time timestamptz,
        ADD COLUMN expiry_days integer,
        ADD COLUMN expiry_round smallint,
        ADD COLUMN origin_bucket integer,
        ADD COLUMN origin_account bigint,
        ADD COLUMN origin_sequence bigint
    """,
    "CREATE INDEX lot_claim ON lot (bucket, account) WHERE claim > 0",
    """
    CREATE INDEX lot_origin ON lot (bucket, account, origin_bucket, origin_account, origin_sequence)
    WHERE origin_account IS NOT NULL
    """,
    # `related` is the sequence of the entry that this one refers to. `unrecovered` could not be
    # taken back, `expired` had expired before it could. `counterpart_*`: the other account of a
    # transfer or a move, `earn_time` is that of the lot that came from it. `expiry_*`: days and
    # rounding of a pending lot's expiry.
    """
    ALTER TABLE entry
        ADD COLUMN related bigint,
        ADD COLUMN unrecovered bigint,
        ADD COLUMN expired bigint,
        ADD COLUMN counterpart_bucket integer,
        ADD COLUMN counterpart_account bigint,
        ADD COLUMN expiry_days integer,
        ADD COLUMN expiry_round smallint,
        ADD COLUMN earn_time timestamptz
    """,
    # `addressee`: the member's own account where the posting landed in the account that it is
    # linked to. `peer_*`: the posting of another account that belongs together with this one.
    """
    ALTER TABLE posting
        ADD COLUMN addressee_bucket integer,
        ADD COLUMN addressee bigint,
        ADD COLUMN peer_bucket integer,
        ADD COLUMN peer_sequence bigint
    """,
    "DROP INDEX posting_request",
    """
    CREATE UNIQUE INDEX posting_request ON posting (bucket, account, request_id)
    WHERE request_id IS NOT NULL AND addressee IS NULL
    """,
    """
    CREATE INDEX posting_addressee
    ON posting (bucket, account, addressee_bucket, addressee, sequence)
    WHERE addressee IS NOT NULL
    """,
    """
    CREATE INDEX posting_peer ON posting (peer_bucket, peer_sequence)
    WHERE peer_sequence IS NOT NULL
    """,
    # Requests of an account's member that were recorded in another account.
    """
    CREATE TABLE request (
        bucket integer NOT NULL,
        account bigint NOT NULL,
        request_id text NOT NULL,
        request_digest bytea NOT NULL,
        posting_bucket integer NOT NULL,
        posting_sequence bigint NOT NULL,
        record_time timestamptz NOT NULL,
        PRIMARY KEY (bucket, account, request_id)
    )
    """,
    # A hold is known by its posting. `sequence` is that of its entry HELD; `lots` and `parts` say
    # what is held of which lot, in the order drawn. `state`: 1 open, 2 captured, 3 released,
    # 4 lapsed.
    """
    CREATE TABLE hold (
        bucket integer NOT NULL,
        account bigint NOT NULL,
        sequence bigint NOT NULL,
        posting bigint NOT NULL,
        currency smallint NOT NULL,
        points bigint NOT NULL CHECK (points >= 1),
        captured bigint NOT NULL DEFAULT 0 CHECK (captured BETWEEN 0 AND points),
        lots bigint[] NOT NULL,
        parts bigint[] NOT NULL,
        state smallint NOT NULL,
        create_time timestamptz NOT NULL,
        expire_time timestamptz NOT NULL,
        PRIMARY KEY (bucket, account, sequence)
    )
    """,
    "CREATE INDEX hold_open ON hold (bucket, account) WHERE state = 1",
    # Programs whose accounts are looked at again, because by a new setting something may fall due
    # earlier than they know: all accounts after this one.
    """
    CREATE TABLE waking (
        program bigint PRIMARY KEY,
        after bigint NOT NULL
    )
    """,
    # How much of an entry (points of an earning or a redemption, or what a count added) was
    # reversed so far, whatever could be taken. The entry is named by its own account.
    """
    CREATE TABLE reversal (
        bucket integer NOT NULL,
        account bigint NOT NULL,
        entry bigint NOT NULL,
        reversed bigint NOT NULL,
        PRIMARY KEY (bucket, account, entry)
    )
    """,
    # What a person is found by. The value is a keyed hash where it is personal.
    """
    CREATE TABLE identifier (
        name_bucket integer NOT NULL,
        organization text NOT NULL,
        kind text NOT NULL,
        value bytea NOT NULL,
        bucket integer NOT NULL,
        person bigint NOT NULL,
        PRIMARY KEY (name_bucket, organization, kind, value)
    )
    """,
    "CREATE INDEX identifier_person ON identifier (bucket, person)",
    # What identifiers are hashed with; another one would find nobody.
    f"INSERT INTO fact (name, value) VALUES ('identifier_key', '{secrets.token_hex(32)}')",
    # A group is an account; `bucket` and `account` are its own.
    """
    CREATE TABLE pool (
        bucket integer NOT NULL,
        account bigint NOT NULL,
        program bigint NOT NULL,
        id text NOT NULL,
        kind smallint NOT NULL,
        display_name text NOT NULL,
        rules jsonb NOT NULL,
        create_time timestamptz NOT NULL,
        PRIMARY KEY (bucket, account)
    )
    """,
    "CREATE INDEX pool_program ON pool (program, id)",
    # Who belongs or belonged to a group: one row a stay, which the member's own `entry` begins.
    # `contributed` is by currency number; with `took_share` it left with its part.
    """
    CREATE TABLE pool_member (
        bucket integer NOT NULL,
        account bigint NOT NULL,
        member_bucket integer NOT NULL,
        member_account bigint NOT NULL,
        entry bigint NOT NULL,
        role text NOT NULL,
        join_time timestamptz NOT NULL,
        leave_time timestamptz,
        contributed bigint[] NOT NULL,
        took_share boolean NOT NULL DEFAULT false,
        PRIMARY KEY (bucket, account, member_bucket, member_account, entry)
    )
    """,
    """
    CREATE UNIQUE INDEX pool_member_now ON pool_member (member_bucket, member_account)
    WHERE leave_time IS NULL
    """,
)


def upgrade() -> None:
    """Add what the whole ledger needs."""
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    """Going back would lose the book; restore a backup instead."""
    raise RuntimeError("the ledger's second migration cannot be undone")
