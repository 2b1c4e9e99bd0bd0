"""A forger who knows the format: rewrites rows and recomputes everything that follows from them."""

from dataclasses import dataclass

import asyncpg

from services.ledger.domain.account import Entry, Posting
from services.ledger.domain.digest import content_digest, entry_digest, first_digest
from services.ledger.store.verification import Line, read_lines

Key = tuple[int, int]


@dataclass
class Forger:
    """Rewrites one account through the superuser's connection."""

    rows: "asyncpg.Connection[asyncpg.Record]"
    key: Key

    async def _history(self) -> list[tuple[Entry, Posting]]:
        async with self.rows.transaction():
            lines = [line async for _, line in read_lines(self.rows, [self.key])]
        found = []
        for line in lines:
            assert isinstance(line, Line)
            assert line.posting is not None
            found.append((line.entry, line.posting))
        return found

    async def _chain(self, history: list[tuple[Entry, Posting]]) -> None:
        """Make the digests right again."""
        digest = first_digest(*self.key)
        for entry, posting in history:
            digest = entry_digest(digest, entry, content_digest(posting))
            await self.rows.execute(
                "UPDATE entry SET digest = $4 WHERE bucket = $1 AND account = $2 AND sequence = $3",
                *self.key,
                entry.sequence,
                digest,
            )
        await self.rows.execute(
            "UPDATE account SET digest = $3 WHERE bucket = $1 AND id = $2", *self.key, digest
        )

    async def earn_more(self, sequence: int, more: int) -> None:
        """Have had an earning bring more points, which are free still."""
        history = await self._history()
        for entry, _ in history:
            if entry.sequence < sequence:
                continue
            first = more if entry.sequence == sequence else 0
            a, p, h, d = entry.change
            entry.points, entry.change = entry.points + first, (a + first, p, h, d)
            entry.requested += first
            a, p, h, d = entry.after
            entry.after = (a + more, p, h, d)
            await self.rows.execute(
                """
                UPDATE entry SET points = $4, available_change = $5, requested = $6, available = $7
                WHERE bucket = $1 AND account = $2 AND sequence = $3
                """,
                *(*self.key, entry.sequence, entry.points, entry.change[0], entry.requested),
                entry.after[0],
            )
        await self.rows.execute(
            """
            UPDATE lot SET points = points + $4, free = free + $4
            WHERE bucket = $1 AND account = $2 AND sequence = $3
            """,
            *(*self.key, sequence, more),
        )
        await self._change_totals(more)
        await self._chain(history)

    async def forget_last_earning(self) -> None:
        """Have the last posting, an earning, never have been."""
        history = await self._history()
        entry, _ = history.pop()
        before, earlier = history[-1]
        for table, column in (
            ("entry", "sequence"),
            ("lot", "sequence"),
            ("posting", "first_entry"),
        ):
            await self.rows.execute(
                f"DELETE FROM {table} WHERE bucket = $1 AND account = $2 AND {column} = $3",
                *(*self.key, entry.sequence),
            )
        await self.rows.execute(
            """
            UPDATE account SET sequence = $3, version = $4, record_time = $5,
                last_activity_time = $6
            WHERE bucket = $1 AND id = $2
            """,
            *(*self.key, before.sequence, earlier.version, earlier.record_time),
            before.effective_time,
        )
        await self._change_totals(-entry.points)
        await self._chain(history)

    async def vanish(self) -> None:
        """Have the account never have been."""
        for table in ("entry", "lot", "posting", "balance", "counter"):
            await self.rows.execute(
                f"DELETE FROM {table} WHERE bucket = $1 AND account = $2", *self.key
            )
        await self.rows.execute("DELETE FROM account WHERE bucket = $1 AND id = $2", *self.key)

    async def _change_totals(self, points: int) -> None:
        await self.rows.execute(
            """
            UPDATE balance SET available = available + $3, earned = earned + $3
            WHERE bucket = $1 AND account = $2
            """,
            *(*self.key, points),
        )
        await self.rows.execute(
            """
            UPDATE counter SET days[cardinality(days)] = days[cardinality(days)] + $3
            WHERE bucket = $1 AND account = $2
            """,
            *(*self.key, points),
        )
