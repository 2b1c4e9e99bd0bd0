"""Bugs that somebody might make, each with the check that catches it."""

from tests.planted.planting import Bug, Change

TRANSACTION = "services.ledger.operations.transaction"
LANES = "services.ledger.operations.lanes"
ACCOUNTS = "services.ledger.store.accounts"
SAVE = "services.ledger.store.save"
FOLD = "services.ledger.domain.fold"
SETTLE = "services.ledger.domain.settle"
EXPIRING = "services.ledger.domain.expiring"
REPAYMENT = "services.ledger.domain.repayment"
REVERSALS = "services.ledger.domain.reversals"
HOLDS = "services.ledger.domain.holds"
EARNING = "services.ledger.domain.earning"
DECIDE = "services.ledger.domain.decide"
EXPIRY = "services.ledger.domain.expiry"
MOVES = "services.ledger.domain.moves"
MERGING = "services.ledger.domain.merging"
RECALL = "services.ledger.domain.recall"
RETURNS = "services.ledger.operations.reversals"
POST = "services.ledger.operations.post"

COMMIT = """\
        await self._session.commit()
        transaction.remember()
"""
COMMIT_LATER = """\
        session = self._session

        async def later() -> None:
            await asyncio.sleep(0.5)
            await session.commit()

        self._late = asyncio.create_task(later())
        transaction.remember()
"""
EXPIRE = """\
            points = lot.free
            fold.expire(lot, points)
"""
EXPIRE_HELD = """\
            balance.held -= lot.held
            balance.available += lot.held
            fold.give_back(lot, lot.held)
            fold.set_aside(lot, -lot.held)
            points = lot.free
            fold.expire(lot, points)
"""
DUE = """\
                due.expired.setdefault(instant, []).append(lot)
            if told:
"""
MATURE = """\
        for lot in sorted(due.matured.get(instant, ()), key=lambda lot: lot.sequence):
"""
EXPIRE_FIRST = """\
        alive = [lot for lot in due.expired.get(instant, ()) if not lot.pending]
        expire_lots(fold, alive, instant)
"""

FOLLOW = "services.audience.operations.follow"
EFFECTS = """\
        async with connection.transaction():
            fresh = await _fresh(connection, LEDGER, facts, moved)
"""
CURSORS = """\
            await cursors.save(connection, LEDGER, moved)
"""
ANOTHER = """\
        async with connection.transaction():
"""
TOLD = """\
    context.progress[LEDGER].count(len(fresh))
"""
# Of another service, and caught by a check of its own.
FOLLOWER_BUG = Bug(
    "cursors are stored before the effects",
    (
        Change(FOLLOW, CURSORS + TOLD, TOLD),
        Change(FOLLOW, EFFECTS, EFFECTS + CURSORS + ANOTHER),
    ),
    "followed",
)

BUGS = (
    Bug(
        "request ids are not looked for",
        (Change(TRANSACTION, "        if seen is not None:", "        if False:"),),
        "requests",
        often=True,
    ),
    Bug(
        "another request under a known id is taken for the same",
        (Change(TRANSACTION, "same = seen.digest == command.digest", "same = True"),),
        "requests",
    ),
    Bug(
        "callers are answered before the commit",
        (Change(LANES, COMMIT, COMMIT_LATER),),
        "killed",
        often=True,
    ),
    Bug(
        "accounts are not locked",
        (Change(ACCOUNTS, "ORDER BY a.bucket, a.id\nFOR NO KEY UPDATE OF a\n", ""),),
        "race",
    ),
    Bug(
        "accounts are locked in any order",
        (Change(ACCOUNTS, "ORDER BY a.bucket, a.id\n", "ORDER BY random()\n"),),
        "ordered",
    ),
    Bug(
        "the stream's heads are not locked",
        (
            Change(SAVE, "ORDER BY bucket FOR NO KEY UPDATE", "ORDER BY bucket"),
            Change(ACCOUNTS, "ORDER BY bucket FOR NO KEY UPDATE", "ORDER BY bucket"),
        ),
        "crowded",
    ),
    Bug(
        "a refused command is not undone",
        (Change(FOLD, "for step in reversed(self._undo or []):", "for step in ():"),),
        "refused",
        often=True,
    ),
    Bug(
        "a rehearsal is written",
        (
            Change(
                POST, 'isolation="repeatable_read", readonly=True', 'isolation="read_committed"'
            ),
            Change(POST, "connection, items, dry=True)", "connection, items)"),
        ),
        "rehearsed",
    ),
    Bug(
        "digests are not chained",
        (Change(FOLD, "entry_digest(account.digest, entry", "entry_digest(bytes(32), entry"),),
        "earned",
    ),
    Bug(
        "what is held expires",
        (
            Change(
                SETTLE,
                "        if lot.free:\n            instant",
                "        if lot.free or lot.held:\n            instant",
            ),
            Change(EXPIRING, "        if lot.free:\n", "        if lot.free or lot.held:\n"),
            Change(EXPIRING, EXPIRE, EXPIRE_HELD),
        ),
        "held",
        often=True,
    ),
    Bug(
        "a released hold does not meet the claim",
        (Change(REPAYMENT, "min(rest, lot.free, other.claim), ())", "0, ())"),),
        "claimed",
        often=True,
    ),
    Bug(
        "what a capture leaves stays held",
        (Change(HOLDS, "    if rest:\n", "    if False:\n"),),
        "held",
    ),
    Bug(
        "a hold lives in the instant of its deadline",
        (Change(SETTLE, "hold.expire_time <= now:", "hold.expire_time < now:"),),
        "lapsed",
    ),
    Bug(
        "the first drawn is restored first",
        (Change(REVERSALS, "in reversed(original.draws):", "in original.draws:"),),
        "restored",
        often=True,
    ),
    Bug(
        "what was reversed is not remembered",
        (
            Change(
                REVERSALS,
                "fold.reverse((*operation.account, entry.sequence), points)",
                "fold.reverse((*operation.account, entry.sequence), 0)",
            ),
        ),
        "returned",
    ),
    Bug(
        "a return gives no room under the cap again",
        (
            Change(
                REVERSALS,
                "original.effective_time, -(available + pending + debt))",
                "original.effective_time, 0)",
            ),
        ),
        "capped",
    ),
    Bug(
        "what expired is taken from other points",
        (Change(REVERSALS, "part.expired = min(lot.expired, points)", "part.expired = 0"),),
        "returned",
    ),
    Bug(
        "earnings do not repay debt",
        (Change(REPAYMENT, "points = min(balance.available, balance.debt)", "points = 0"),),
        "owed",
        often=True,
    ),
    Bug(
        "what repaid debt is not owed again when it is returned",
        (Change(REVERSALS, "part.again = min(lot.repaid, points)", "part.again = 0"),),
        "owed",
    ),
    Bug(
        "debt has no floor",
        (
            Change(
                REVERSALS,
                "room = points if floor is None else min(points, max(0, floor - debt))",
                "room = points",
            ),
        ),
        "owed",
    ),
    Bug(
        "lots expire before others mature",
        (Change(SETTLE, MATURE, EXPIRE_FIRST + MATURE),),
        "matured",
        often=True,
    ),
    Bug(
        "points can be spent in the instant in which they expire",
        (
            Change(
                SETTLE,
                f"            if instant <= now:\n{DUE}",
                f"            if instant < now:\n{DUE}",
            ),
        ),
        "expired",
    ),
    Bug(
        "a month after 31 January is in March",
        (
            Change(
                "kernel.calendar",
                "    return date(year, month + 1, min(day.day, monthrange(year, month + 1)[1]))",
                "    last = monthrange(year, month + 1)[1]\n"
                "    return date(year, month + 1, 1) + timedelta(days=min(day.day, last + 3) - 1)",
            ),
        ),
        "months",
    ),
    Bug(
        "an operator's gift keeps idle points alive",
        (
            Change(
                EARNING,
                "    points = operation.points\n    if points > 0:\n",
                "    points = operation.points\n"
                "    fold.active(posting.effective_time)\n"
                "    if points > 0:\n",
            ),
        ),
        "idle",
    ),
    Bug(
        "the oldest points are spent first, whenever they expire",
        (
            Change(
                EXPIRY,
                "return expires(lot, last_activity, zone), lot.earn_time, lot.sequence",
                "return lot.earn_time, lot.earn_time, lot.sequence",
            ),
        ),
        "spent",
    ),
    Bug(
        "transferred points live as if they were earned then",
        (
            Change(
                MOVES,
                "        points = points_of.get(sequence, 0)\n",
                "        points = points_of.get(sequence, 0)\n"
                "        later = fold.now - lot.mature_time\n"
                "        lot.expire_time = lot.expire_time and lot.expire_time + later\n",
            ),
        ),
        "given",
    ),
    Bug(
        "what is known of lots does not come along in a merge",
        (Change(MERGING, "currency and all_marks(lot) != NO_MARKS", "currency < 0"),),
        "merged",
    ),
    Bug(
        "what comes back meets only claims on its own lot",
        (Change(REPAYMENT, "if _root(fold, other) == root]", "if other is lot]"),),
        "merged",
    ),
    Bug(
        "points in other accounts are not asked back",
        (
            Change(
                RETURNS,
                "        self._holders = await merges.holders(connection, self.roots)\n",
                "        self._holders = set()\n",
            ),
            Change(RETURNS, "            raise Outrun\n", "            pass\n"),
        ),
        "shared",
    ),
    Bug(
        "what was spent in a group is claimed where nothing comes back",
        (Change(RECALL, "    room = spent - sum(", "    room = 0 * spent - sum("),),
        "shared",
    ),
    Bug(
        "a frozen member can be given points",
        (Change(DECIDE, "in ((account, addressed), *others):", "in ((account, addressed),):"),),
        "given",
    ),
)
