"""Programs as rules know them, and their rulesets: one immutable snapshot a version."""

import json
from collections import OrderedDict
from datetime import datetime
from decimal import Decimal
from typing import Any

from chassis.database import ACQUIRE_TIMEOUT_S, Connection, Pool
from services.rules.domain.ruleset import EarningRule, Rounding, Ruleset

_KEY = "SELECT key FROM program WHERE organization = $1 AND id = $2"
_INSERT_PROGRAM = """
INSERT INTO program (key, organization, id, ruleset) VALUES ($1, $2, $3, 0)
ON CONFLICT (organization, id) DO NOTHING
"""
_VERSION_BY_ID = "SELECT key, ruleset FROM program WHERE organization = $1 AND id = $2"
_LOCK = "SELECT ruleset FROM program WHERE key = $1 FOR NO KEY UPDATE"
_SNAPSHOT = "SELECT snapshot FROM ruleset WHERE program = $1 AND version = $2"
_INSERT_RULESET = """
INSERT INTO ruleset (program, version, record_time, actor, snapshot)
VALUES ($1, $2, $3, $4, $5::jsonb)
"""
_PUBLISH = "UPDATE program SET ruleset = $2 WHERE key = $1"


async def insert_program(connection: Connection, key: int, organization: str, program: str) -> int:
    """Know a program from now on; answer its key, which is another one's where that was first."""
    await connection.execute(_INSERT_PROGRAM, key, organization, program)
    found: int = await connection.fetchval(_KEY, organization, program)
    return found


async def locked_version(connection: Connection, key: int) -> int:
    """The version in force, kept from changing until commit."""
    found: int = await connection.fetchval(_LOCK, key)
    return found


async def publish(
    connection: Connection, key: int, ruleset: Ruleset, record_time: datetime, actor: str
) -> None:
    """Keep a new version for ever and put it in force."""
    snapshot = json.dumps(to_json(ruleset))
    await connection.execute(_INSERT_RULESET, key, ruleset.version, record_time, actor, snapshot)
    await connection.execute(_PUBLISH, key, ruleset.version)


class RulesetCache:
    """What a process remembers of rulesets: only what can never change."""

    def __init__(
        self, pool: Pool, *, programs_max: int = 10_000, rulesets_max: int = 2_000
    ) -> None:
        self._pool = pool
        self._programs_max = programs_max
        self._rulesets_max = rulesets_max
        self._keys: OrderedDict[tuple[str, str], int] = OrderedDict()
        self._rulesets: OrderedDict[tuple[int, int], Ruleset] = OrderedDict()

    async def key(self, organization: str, program: str) -> int | None:
        """The key of a program; None where rules never heard of it."""
        name = (organization, program)
        known = self._keys.get(name)
        if known is None:
            async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
                known = await connection.fetchval(_KEY, organization, program)
            if known is not None:
                self._keys[name] = known
                if len(self._keys) > self._programs_max:
                    self._keys.popitem(last=False)
        return known

    async def in_force(self, organization: str, program: str) -> Ruleset:
        """The ruleset of a program as it is now; the defaults where rules never heard of it."""
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
            row = await connection.fetchrow(_VERSION_BY_ID, organization, program)
            if row is None:
                return Ruleset()
            return await self.ruleset(connection, row["key"], row["ruleset"])

    async def ruleset(self, connection: Connection, key: int, version: int) -> Ruleset:
        """One version, loaded once. LookupError where there is none."""
        if version == 0:
            return Ruleset()
        known = self._rulesets.get((key, version))
        if known is not None:
            self._rulesets.move_to_end((key, version))
            return known
        snapshot = await connection.fetchval(_SNAPSHOT, key, version)
        if snapshot is None:
            raise LookupError(f"program {key} has no ruleset {version}")
        known = from_json(version, json.loads(snapshot))
        self._rulesets[key, version] = known
        if len(self._rulesets) > self._rulesets_max:
            self._rulesets.popitem(last=False)
        return known


def to_json(ruleset: Ruleset) -> dict[str, Any]:
    """A ruleset as it is stored; numbers that are no integers are decimal strings."""
    return {
        "points": dict(ruleset.points),
        "rules": [
            {
                "id": rule.id,
                "display_name": rule.display_name,
                "event_type": rule.event_type,
                "points": f"{rule.points:f}",
                "per_amount": f"{rule.per_amount:f}",
                "minimum_amount": f"{rule.minimum_amount:f}",
                "rounding": rule.rounding.name,
                "tier_rate": rule.tier_rate,
                "currency": rule.currency,
                "expiry": rule.expiry,
                "version": rule.version,
            }
            for rule in ruleset.rules
        ],
    }


def from_json(version: int, snapshot: dict[str, Any]) -> Ruleset:
    """A ruleset as it was stored."""
    return Ruleset(
        version,
        dict(snapshot["points"]),
        tuple(
            EarningRule(
                id=rule["id"],
                display_name=rule["display_name"],
                event_type=rule["event_type"],
                points=Decimal(rule["points"]),
                per_amount=Decimal(rule["per_amount"]),
                minimum_amount=Decimal(rule["minimum_amount"]),
                rounding=Rounding[rule["rounding"]],
                tier_rate=rule["tier_rate"],
                currency=rule["currency"],
                expiry=rule["expiry"],
                version=rule["version"],
            )
            for rule in snapshot["rules"]
        ),
    )
