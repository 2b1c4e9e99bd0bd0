"""What goes along with points that move to another account.

Expands only: the version before works with these tables as they are.
"""

from alembic import op

revision = "0004"
down_revision = "0003"

STATEMENTS = (
    # Of points that came from another account: `origin_*` is the lot that they were earned in,
    # `repaid` how many of its points repaid debt. `cover_*`: by how much `covered` of lots changes.
    """
    ALTER TABLE entry
        ADD COLUMN origin_bucket integer,
        ADD COLUMN origin_account bigint,
        ADD COLUMN origin_sequence bigint,
        ADD COLUMN repaid bigint,
        ADD COLUMN cover_lots bigint[],
        ADD COLUMN cover_points bigint[]
    """,
    # A lot without points has what is known of points that may come back to it.
    "ALTER TABLE lot DROP CONSTRAINT lot_points_check",
    "ALTER TABLE lot ADD CONSTRAINT lot_points_check CHECK (points >= 0)",
    "CREATE INDEX lot_owing ON lot (bucket, account) WHERE claim > 0 OR covered > 0",
    # Where points of a lot are, whoever has them by now.
    """
    CREATE INDEX lot_moved ON lot (origin_bucket, origin_account, origin_sequence)
    WHERE origin_account IS NOT NULL
    """,
)


def upgrade() -> None:
    """Add the columns."""
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    """Going back would lose the book; restore a backup instead."""
    raise RuntimeError("the ledger's fourth migration cannot be undone")
