"""How far the ledger's stream was followed, to learn who was erased."""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the table."""
    op.execute(
        """
        CREATE TABLE followed (
            stream text NOT NULL,
            bucket integer NOT NULL,
            sequence bigint NOT NULL,
            PRIMARY KEY (stream, bucket)
        )
        """
    )


def downgrade() -> None:
    """Going back would lose who was erased; restore a backup instead."""
    raise RuntimeError("the second migration of rules cannot be undone")
