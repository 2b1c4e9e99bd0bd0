"""What an entry was, in words that a member can read."""

from loyalty.ledger.v1 import resources_pb2
from services.ledger.domain.account import Entry, Kind, Limit, Posting

_WORDS: dict[Kind, str] = {
    Kind.ENROLLED: "Joined the program",
    Kind.EARNED: "Earned",
    Kind.REDEEMED: "Redeemed",
    Kind.ADJUSTED_IN: "Credited",
    Kind.ADJUSTED_OUT: "Debited",
    Kind.MATURED: "Became spendable",
    Kind.EXPIRED: "Expired",
    Kind.COUNTED: "Counted",
    Kind.HELD: "Set aside",
    Kind.CAPTURED: "Redeemed what was set aside",
    Kind.RELEASED: "Given back what was set aside",
    Kind.LAPSED: "Given back what was set aside, its time was over",
    Kind.EARNING_REVERSED: "Earning taken back",
    Kind.REDEMPTION_RESTORED: "Redemption given back",
    Kind.COUNT_REVERSED: "Count taken back",
    Kind.TRANSFERRED_OUT: "Given",
    Kind.TRANSFERRED_IN: "Received",
    Kind.DEBT_REPAID: "Repaid what was owed",
    Kind.FROZEN: "Frozen",
    Kind.UNFROZEN: "Unfrozen",
    Kind.EXPIRY_NOTICED: "Will expire",
    Kind.MOVED_OUT: "Moved away",
    Kind.MOVED_IN: "Moved here",
    Kind.LINKED: "Points are kept in another account from here on",
    Kind.UNLINKED: "Points are kept in this account again",
}
_LIMITS: dict[Limit, str] = {
    Limit.DAILY_CAP: "the daily cap",
    Limit.MONTHLY_CAP: "the monthly cap",
    Limit.MAXIMUM_BALANCE: "the maximum balance",
}
_OUTWARD = frozenset({Kind.TRANSFERRED_OUT, Kind.MOVED_OUT})


def description(entry: Entry, posting: Posting, counter: str) -> str:
    """The kind, whom it was with, what it was for or why, and what limits or policies cut."""
    parts = [_WORDS[entry.kind]]
    other = None if entry.counterpart is None else posting.names.get(entry.counterpart)
    if other and entry.kind is Kind.LINKED:
        parts[0] = f"Belongs to {other} from here on"
    elif other and entry.kind is Kind.UNLINKED:
        parts[0] = f"Belongs to {other} no more"
    elif other:
        parts[0] += f" {'to' if entry.kind in _OUTWARD else 'from'} {other}"
    if counter:
        parts[0] += f" {counter}: {entry.counter_change or 0:+}"
    if entry.source is not None:
        parts.extend(_source(resources_pb2.Source.FromString(entry.source)))
    if entry.reason:
        parts.append(entry.reason)
    if entry.kind is Kind.EXPIRY_NOTICED:
        parts.append(f"{entry.requested} points")
    parts.extend(f"{points} not given by {_LIMITS[limit]}" for limit, points in entry.forfeits)
    if entry.unrecovered:
        parts.append(f"{entry.unrecovered} could not be taken")
    if entry.expired:
        parts.append(f"{entry.expired} had expired")
    return "; ".join(parts)


def _source(source: resources_pb2.Source) -> list[str]:
    parts = []
    if source.rule:
        parts.append(f"rule {source.rule}")
    if source.event:
        parts.append(f"event {source.event}")
    if source.value.amount:
        money = f"{source.value.amount} {source.value.currency}".strip()
        parts.append(f"{money} at {source.rate}" if source.rate else money)
    return parts
