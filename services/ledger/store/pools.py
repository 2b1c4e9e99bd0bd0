"""Groups and fleets, and who belongs to them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from services.ledger.domain.account import AccountKind
from services.ledger.domain.groups import GroupRules, OnJoin, OnLeave
from services.ledger.domain.permissions import Permission
from services.ledger.store.accounts import Key
from services.ledger.store.programs import Connection


@dataclass(frozen=True, slots=True)
class Pool:
    """A group or fleet; `key` is its account."""

    key: Key
    program: int
    id: str
    kind: AccountKind
    display_name: str
    rules: GroupRules
    create_time: datetime


_CONTRIBUTE = """
UPDATE pool_member m SET contributed = k.contributed::bigint[]
FROM unnest($1::int[], $2::bigint[], $3::text[]) AS k (bucket, account, contributed)
WHERE m.member_bucket = k.bucket AND m.member_account = k.account AND m.leave_time IS NULL
"""


def rules_to_json(rules: GroupRules) -> str:
    """What is stored of a group's rules."""
    return json.dumps(
        {
            "roles": {role: [each.name for each in sorted(some)] for role, some in rules.roles},
            "order": [role for role, _ in rules.roles],
            "pooling": rules.pooling,
            "on_join": rules.on_join.name,
            "on_leave": rules.on_leave.name,
        }
    )


@lru_cache(maxsize=10_000)
def rules_from_json(text: str) -> GroupRules:
    """The rules that `rules_to_json` stored."""
    stored = json.loads(text)
    return GroupRules(
        roles=tuple(
            (role, frozenset(Permission[name] for name in stored["roles"][role]))
            for role in stored["order"]
        ),
        pooling=stored["pooling"],
        on_join=OnJoin[stored["on_join"]],
        on_leave=OnLeave[stored["on_leave"]],
    )


async def contribute(connection: Connection, contributed: Mapping[Key, list[int]]) -> None:
    """Write what members contributed to their groups, by the members' accounts."""
    await connection.execute(
        _CONTRIBUTE,
        [bucket for bucket, _ in contributed],
        [account for _, account in contributed],
        ["{" + ",".join(map(str, numbers)) + "}" for numbers in contributed.values()],
    )
