"""Who was erased, for as long as those who follow the stream need to know it; a member's stays.

Expands only: the version before works with these tables as they are.
"""

from alembic import op

revision = "0003"
down_revision = "0002"

STATEMENTS = (
    # A change of the stream: it shares the sequences of its bucket with postings. `member` is null
    # once it is forgotten, and so is everything that the answer to a repeated request is made of:
    # the request, what was erased, and the places of the postings that wrote points off. An id
    # that went along with another one has no request.
    """
    CREATE TABLE erasure (
        bucket integer NOT NULL,
        sequence bigint NOT NULL,
        organization text NOT NULL,
        member text,
        record_time timestamptz NOT NULL,
        request_id text,
        request_digest bytea,
        members integer,
        identifiers integer,
        posting_buckets integer[],
        posting_sequences bigint[],
        PRIMARY KEY (bucket, sequence),
        CHECK (member IS NOT NULL OR request_id IS NULL)
    )
    """,
    """
    CREATE INDEX erasure_named ON erasure (bucket, organization, member)
    WHERE member IS NOT NULL
    """,
    # All stays of a member in groups, by which it is known where its points were at a time.
    "CREATE INDEX pool_member_stays ON pool_member (member_bucket, member_account)",
)


def upgrade() -> None:
    """Add the table and the index."""
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    """Going back would leave gaps in the stream; restore a backup instead."""
    raise RuntimeError("the ledger's third migration cannot be undone")
