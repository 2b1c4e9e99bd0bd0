"""Who was erased: forgotten here, and published for as long as others need to know it.

Expands only: the version before works with these tables as they are.
"""

from alembic import op

revision = "0002"
down_revision = "0001"

# What was decided stays decided, about nobody.
erasable = {"change": ("member",)}
deletable = ("membership",)

STATEMENTS = (
    # A change of the stream: it shares the sequences of its bucket with `change`. `member` is null
    # once it is forgotten. `ledger_*` is the place of the ledger's change, which is followed once.
    """
    CREATE TABLE erasure (
        bucket integer NOT NULL,
        sequence bigint NOT NULL,
        organization text NOT NULL,
        member text,
        record_time timestamptz NOT NULL,
        ledger_bucket integer NOT NULL,
        ledger_sequence bigint NOT NULL,
        PRIMARY KEY (bucket, sequence),
        UNIQUE (ledger_bucket, ledger_sequence)
    )
    """,
    """
    CREATE INDEX erasure_named ON erasure (bucket, organization, member)
    WHERE member IS NOT NULL
    """,
)


def upgrade() -> None:
    """Add the table."""
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    """Going back would leave gaps in the stream; restore a backup instead."""
    raise RuntimeError("the second migration of the tiers cannot be undone")
