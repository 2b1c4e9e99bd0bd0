"""A bank: whatever many callers give and spend at once, no point appears and none is lost."""

import asyncio
import random
import uuid
from typing import Any

import asyncpg

from loyalty.ledger.v1 import ledger_pb2, program_pb2
from tests.properties.effort import LONG, SEED
from tests.properties.ledger_process import Cluster
from tests.properties.many import Many, many, reason_of

ACCOUNTS = 12
FIRST = 1_000
CALLERS = 24
MOST_SECONDS = 60.0 if LONG else 5.0

# One statement, so one snapshot.
_SUMS = """
SELECT sum(b.available + b.pending + b.held - b.debt) AS net, sum(b.redeemed) AS redeemed,
    min(b.available) AS least,
    sum(b.available) - (
        SELECT coalesce(sum(l.free), 0) FROM lot l JOIN account x ON x.bucket = l.bucket
            AND x.id = l.account AND x.program = $1
    ) AS off
FROM balance b JOIN account a ON a.bucket = b.bucket AND a.id = b.account
WHERE a.program = $1
"""


class Bank:
    """Members who give each other points and spend them."""

    def __init__(self, bank: Many, until: float) -> None:
        self.bank = bank
        self.until = until
        self.dice = random.Random(SEED)
        self.redeemed = 0
        self.transferred = 0
        self.reasons: dict[str, int] = {}
        self.sums = 0

    def running(self) -> bool:
        """Whether there is time left."""
        return asyncio.get_running_loop().time() < self.until

    async def call(self, number: int) -> None:
        """One caller: transfers, some redemptions, some of all of it twice."""
        caller = self.bank.callers[number % len(self.bank.callers)]
        while self.running():
            member, other = self.dice.sample(range(ACCOUNTS), 2)
            points = self.dice.choice((1, 7, 50, FIRST))
            common: dict[str, Any] = {
                "program": "p",
                "member": f"m{member}",
                "request_id": uuid.uuid4().hex,
                "points": points,
            }
            request: Any = ledger_pb2.TransferPointsRequest(**common, recipient=f"m{other}")
            method = "TransferPoints"
            if self.dice.random() < 0.2:
                request, method = ledger_pb2.RedeemRequest(**common), "Redeem"
            twice = 2 if self.dice.random() < 0.1 else 1
            reasons = await asyncio.gather(
                *(reason_of(caller.points(method, request)) for _ in range(twice))
            )
            # A refusal is not remembered: points may have come in between the two.
            reason = "OK" if "OK" in reasons else reasons[0]
            assert set(reasons) <= {reason, "INSUFFICIENT_POINTS"}, (reasons, request)
            self.reasons[reason] = self.reasons.get(reason, 0) + 1
            if reason == "OK" and method == "Redeem":
                self.redeemed += points
            elif reason == "OK":
                self.transferred += 1

    async def watch(self, program: int) -> None:
        """A reader: sums within one snapshot, again and again."""
        while self.running():
            await self.check(program)
            await asyncio.sleep(0.02)

    async def check(self, program: int) -> int:
        """Assert the sums of one snapshot; what was redeemed by then."""
        row = await self.bank.rows.fetchrow(_SUMS, program)
        assert row is not None
        assert row["net"] + row["redeemed"] == ACCOUNTS * FIRST, dict(row)
        assert row["least"] >= 0
        assert row["off"] == 0, dict(row)
        self.sums += 1
        return int(row["redeemed"])


async def test_no_sum_is_ever_off(cluster: Cluster) -> None:
    print(f"LOYALTY_TEST_SEED={SEED}")
    organization = f"bank-{uuid.uuid4().hex[:8]}"
    async with many(cluster, organization) as bank:
        await bank.furnish(transfer=program_pb2.TransferSettings(enabled=True))
        members = [f"m{number}" for number in range(ACCOUNTS)]
        for number, member in enumerate(members):
            await bank.earn(number, member, FIRST, "first")
        program = await _program(bank.rows, organization)
        run = Bank(bank, asyncio.get_running_loop().time() + MOST_SECONDS)

        await asyncio.gather(run.watch(program), *(run.call(each) for each in range(CALLERS)))

        assert await run.check(program) == run.redeemed
        assert run.transferred > 50, run.reasons
        assert set(run.reasons) <= {"OK", "INSUFFICIENT_POINTS"}, run.reasons
        await bank.verify(*members)


async def _program(rows: "asyncpg.Pool[asyncpg.Record]", organization: str) -> int:
    key: int = await rows.fetchval("SELECT key FROM program WHERE organization = $1", organization)
    return key
