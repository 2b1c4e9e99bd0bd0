"""A profile of somebody who was erased is deleted."""

revision = "0002"
down_revision = "0001"

deletable = ("profile",)


def upgrade() -> None:
    """Change no table; the serving role is granted what is declared above."""


def downgrade() -> None:
    """There is nothing to undo; the version before deletes no profiles."""
