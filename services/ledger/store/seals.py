"""Seals: what makes a change of a row that follows from no entry be seen.

Which person has which name, on which day a member's month begins, what a group allows and who
belongs to it may change without a posting. Such a row carries a hash of all that it says, made by
whatever statement writes it: whoever changes the row otherwise is found by verifying.
`docs/proof.md` says what that does not show.
"""

PERSON = ("name_bucket", "organization", "member", "bucket", "person", "into_bucket", "into_person")
BILLING = ("bucket", "id", "billing_day")
POOL = ("bucket", "account", "program", "id", "kind", "display_name", "rules", "create_time")
STAY = (
    "bucket", "account", "member_bucket", "member_account", "entry", "role", "join_time",
    "leave_time", "contributed", "took_share",
)  # fmt: skip


def seal(columns: tuple[str, ...], row: str, **changed: str) -> str:
    """The SQL of a row's seal; `changed` are the expressions of columns that are written anew."""
    parts = []
    for name in columns:
        value = changed.get(name, f"{row}.{name}")
        if name.endswith("_time"):
            # As a number, whatever time zone the session has.
            value = f"extract(epoch FROM {value})"
        parts.append(f"CAST({value} AS text)")
    return f"sealed({', '.join(parts)})"
