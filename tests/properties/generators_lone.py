"""What hypothesis draws of holds, activation, reversals, transfers and freezing.

They refer to what an account has, so they are drawn with the model at hand.
"""

from datetime import datetime, timedelta

from hypothesis import strategies as st

from tests.properties.generators import CURRENCIES, JUMPS, MEMBERS, rare, small
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
currencies = st.sampled_from(("", "", *CURRENCIES))


@st.composite
def lone_operations(draw: st.DrawFn, model: Program, account: Account) -> Lone:
    """One of them, mostly one that can succeed."""
    if account.frozen and draw(st.booleans()):
        return UnfreezeMember("cleared")
    kind = draw(st.sampled_from(KINDS))
    if kind == "hold":
        return CreateHold(draw(small), draw(currencies), draw(deadlines(model.now)))
    if kind == "capture":
        points = draw(st.sampled_from((0, 0, 1, 5)) | small)
        return CaptureHold(draw(holds(account)), points)
    if kind == "release":
        return ReleaseHold(draw(holds(account)))
    if kind == "reverse":
        return draw(reversals(account))
    if kind == "activate":
        return draw(activations(account))
    if kind == "transfer":
        others = [member for member in MEMBERS if member != account.member]
        return TransferPoints(draw(st.sampled_from(others)), draw(small), draw(currencies), "gift")
    if account.frozen or draw(st.integers(0, 3)):
        return UnfreezeMember("cleared")
    return FreezeMember("suspicion")


@st.composite
def deadlines(draw: st.DrawFn, now: datetime) -> datetime | None:
    """Mostly given and near; rarely one that is not allowed."""
    if draw(rare):
        return now + draw(st.sampled_from((timedelta(0), timedelta(days=401))))
    ahead = draw(st.sampled_from((None, *JUMPS)))
    return None if ahead is None else now + ahead


@st.composite
def holds(draw: st.DrawFn, account: Account) -> str:
    """Mostly an open hold."""
    opened = [hold.request_id for hold in account.holds if hold.state == "OPEN"]
    every = [hold.request_id for hold in account.holds]
    known = draw(st.sampled_from((opened or every, opened or every, every)))
    return UNKNOWN if not known or draw(rare) else draw(st.sampled_from(known))


@st.composite
def reversals(draw: st.DrawFn, account: Account) -> ReversePosting:
    """All, some points or parts of what was posted; now and then more than there was."""
    postings = [
        entry.request_id
        for entry in account.entries
        if entry.kind in REVERSIBLE and entry.request_id in account.seen
    ]
    known = postings if postings and not draw(rare) else [*account.seen, UNKNOWN]
    posting = draw(st.sampled_from(known))
    op = ReversePosting(posting, cause=draw(st.sampled_from(CAUSES)), reason="returned")
    entries = [entry for entry in account.entries if entry.request_id == posting]
    found = [entry for entry in entries if entry.kind in REVERSIBLE]
    form = draw(st.sampled_from(("all", "all", "points", "points", "parts")))
    spread = {entry.currency for entry in found if entry.currency}
    if form == "points" and len(spread) == 1:
        return ReversePosting(posting, draw(small), (), op.cause, op.reason)
    if form == "parts" and found:
        named = draw(st.lists(st.sampled_from(found), min_size=1, max_size=2, unique_by=id))
        parts = tuple((entry.sequence, draw(small)) for entry in named)
        return ReversePosting(posting, 0, parts, op.cause, op.reason)
    return op


@st.composite
def activations(draw: st.DrawFn, account: Account) -> ActivatePending:
    """All of a currency, what a posting gave, or one lot."""
    pending = [lot for lot in account.lots if lot.pending and lot.free]
    form = draw(st.sampled_from(("all", "posting", "lot")))
    if form == "all" or not pending:
        return ActivatePending(draw(currencies))
    lot = draw(st.sampled_from(pending))
    if form == "lot":
        return ActivatePending(lot.currency, lot=lot.sequence)
    posting = account.entries[lot.sequence - 1].request_id
    return ActivatePending(lot.currency, posting if not draw(rare) else UNKNOWN)
