"""What is drawn of holds, activation, reversals, transfers and freezing.

They refer to what an account has, so they are drawn with the model at hand.
"""

from datetime import datetime, timedelta

from tests.properties.chance import Chance
from tests.properties.generators import CURRENCIES, JUMPS, MEMBERS, small
from tests.properties.model import Program
from tests.properties.model_returns import REVERSIBLE
from tests.properties.model_shapes import (
    Account,
    ActivatePending,
    CaptureHold,
    CreateHold,
    FreezeMember,
    Lone,
    ReleaseHold,
    ReversePosting,
    TransferPoints,
    UnfreezeMember,
)

UNKNOWN = "never-sent"
CAUSES = ("CAUSE_UNSPECIFIED", "OPERATOR", "PURCHASE_RETURNED", "REWARD_FAILED")
KINDS = (
    "hold",
    "hold",
    "capture",
    "capture",
    "release",
    "reverse",
    "reverse",
    "reverse",
    "activate",
    "transfer",
    "freeze",
)
CURRENCY = ("", "", *CURRENCIES)


def lone_operations(chance: Chance, model: Program, account: Account) -> Lone:
    """One of them, mostly one that can succeed."""
    if account.frozen and chance.coin():
        return UnfreezeMember("cleared")
    kind = chance.pick(KINDS)
    if any(hold.state == "OPEN" for hold in account.holds) and chance.coin():
        kind = chance.pick(("capture", "release"))
    elif kind in {"capture", "release"} and not (account.holds or chance.rare()):
        kind = "hold"
    if kind == "hold":
        return CreateHold(*affordable(chance, model, account), deadlines(chance, model.now))
    if kind == "capture":
        points = small(chance) if chance.number(0, 3) == 0 else chance.pick((0, 0, 1, 5))
        return CaptureHold(holds(chance, account), points)
    if kind == "release":
        return ReleaseHold(holds(chance, account))
    if kind == "reverse":
        return reversals(chance, account)
    if kind == "activate":
        return activations(chance, account)
    if kind == "transfer":
        others = [member for member in MEMBERS if member != account.member]
        known = [member for member in others if member in model.accounts]
        recipient = chance.pick(others if chance.rare() else known or others)
        return TransferPoints(recipient, *affordable(chance, model, account), "gift")
    if account.frozen or chance.number(0, 3):
        return UnfreezeMember("cleared")
    return FreezeMember("suspicion")


def affordable(chance: Chance, model: Program, account: Account) -> tuple[int, str]:
    """Points and their currency: mostly what the account has, or some of it."""
    rich = [name for name in CURRENCIES if model.available(account, name)]
    if not rich or chance.number(0, 3) == 0:
        return small(chance), chance.pick(CURRENCY)
    currency = chance.pick(rich)
    available = model.available(account, currency)
    points = available if chance.number(0, 4) == 0 else chance.number(1, min(available, 60))
    return max(points - points % model.settings.step, 1), currency


def deadlines(chance: Chance, now: datetime) -> datetime | None:
    """Mostly given and near; rarely one that is not allowed."""
    if chance.rare():
        return now + chance.pick((timedelta(0), timedelta(days=401)))
    ahead = chance.pick((None, *JUMPS))
    return None if ahead is None else now + ahead


def holds(chance: Chance, account: Account) -> str:
    """Mostly an open hold."""
    opened = [hold.request_id for hold in account.holds if hold.state == "OPEN"]
    every = [hold.request_id for hold in account.holds]
    known = chance.pick((opened or every, opened or every, every))
    return UNKNOWN if not known or chance.rare() else chance.pick(known)


def reversals(chance: Chance, account: Account) -> ReversePosting:
    """All, some points or parts of what was posted; now and then more than there was."""
    postings = [
        entry.request_id
        for entry in account.entries
        if entry.kind in REVERSIBLE and entry.request_id in account.seen
    ]
    known = postings if postings and not chance.rare() else [*account.seen, UNKNOWN]
    posting = chance.pick(known)
    op = ReversePosting(posting, cause=chance.pick(CAUSES), reason="returned")
    entries = [entry for entry in account.entries if entry.request_id == posting]
    found = [entry for entry in entries if entry.kind in REVERSIBLE]
    form = chance.pick(("all", "all", "points", "points", "parts"))
    spread = {entry.currency for entry in found if entry.currency}
    if form == "points" and len(spread) == 1:
        return ReversePosting(posting, small(chance), (), op.cause, op.reason)
    if form == "parts" and found:
        named = chance.shuffled(found)[: chance.number(1, 2)]
        parts = tuple((entry.sequence, small(chance)) for entry in named)
        return ReversePosting(posting, 0, parts, op.cause, op.reason)
    return op


def activations(chance: Chance, account: Account) -> ActivatePending:
    """All of a currency, what a posting gave, or one lot."""
    pending = [lot for lot in account.lots if lot.pending and lot.free]
    form = chance.pick(("all", "posting", "lot"))
    if form == "all" or not pending:
        return ActivatePending(chance.pick(CURRENCY))
    lot = chance.pick(pending)
    if form == "lot":
        return ActivatePending(lot.currency, lot=lot.sequence)
    posting = account.entries[lot.sequence - 1].request_id
    return ActivatePending(lot.currency, posting if not chance.rare() else UNKNOWN)
