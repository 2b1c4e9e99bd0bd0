"""Rows that follow from no entry carry a hash of what they say.

Expands only: the version before works with these tables as they are, but what it writes of these
rows is named by verifying until it is written again.
"""

from alembic import op

revision = "0005"
down_revision = "0004"

STATEMENTS = (
    """
    CREATE FUNCTION sealed(VARIADIC parts text[]) RETURNS bytea
    LANGUAGE sql IMMUTABLE AS $$ SELECT sha256(convert_to(to_jsonb(parts)::text, 'UTF8')) $$
    """,
    "ALTER TABLE directory ADD COLUMN seal bytea",
    # Set where a billing day is.
    "ALTER TABLE account ADD COLUMN billing_seal bytea",
    "ALTER TABLE pool ADD COLUMN seal bytea",
    "ALTER TABLE pool_member ADD COLUMN seal bytea",
    """
    UPDATE directory d SET seal = sealed(
        CAST(d.name_bucket AS text), CAST(d.organization AS text), CAST(d.member AS text),
        CAST(d.bucket AS text), CAST(d.person AS text), CAST(d.into_bucket AS text),
        CAST(d.into_person AS text)
    )
    """,
    """
    UPDATE account a SET billing_seal = sealed(
        CAST(a.bucket AS text), CAST(a.id AS text), CAST(a.billing_day AS text)
    ) WHERE a.billing_day IS NOT NULL
    """,
    """
    UPDATE pool p SET seal = sealed(
        CAST(p.bucket AS text), CAST(p.account AS text), CAST(p.program AS text),
        CAST(p.id AS text), CAST(p.kind AS text), CAST(p.display_name AS text),
        CAST(p.rules AS text), CAST(extract(epoch FROM p.create_time) AS text)
    )
    """,
    """
    UPDATE pool_member m SET seal = sealed(
        CAST(m.bucket AS text), CAST(m.account AS text), CAST(m.member_bucket AS text),
        CAST(m.member_account AS text), CAST(m.entry AS text), CAST(m.role AS text),
        CAST(extract(epoch FROM m.join_time) AS text),
        CAST(extract(epoch FROM m.leave_time) AS text), CAST(m.contributed AS text),
        CAST(m.took_share AS text)
    )
    """,
)


def upgrade() -> None:
    """Add the columns, and seal what is there."""
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    """Going back would lose the book; restore a backup instead."""
    raise RuntimeError("the ledger's fifth migration cannot be undone")
