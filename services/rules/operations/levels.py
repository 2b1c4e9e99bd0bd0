"""Which events of a batch may be worked on together, so that the result is that of one by one."""

from collections.abc import Iterable

from services.rules.domain.events import visit_of
from services.rules.domain.facts import ProgramFacts
from services.rules.operations.outcomes import Asked


def in_rounds(asked: Iterable[Asked], facts: ProgramFacts, *, one_each: bool) -> list[list[Asked]]:
    """The events in rounds, each in request order.

    Within a round the ledger does the postings of a member in order. An event waits for a later
    round where it rests on what becomes of an earlier one: the same event id (the earlier one may
    be refused, which frees the id), the same visit (it may be refused, which frees the visit), and
    with `one_each` any earlier event of the member, which may bring a tier that earns more.
    """
    rounds: list[list[Asked]] = []
    members: dict[str, int] = {}
    ids: dict[str, int] = {}
    visits: dict[object, int] = {}
    for each in asked:
        event = each.event
        level = members.get(event.member, 0)
        if one_each and event.member in members:
            level += 1
        visit = visit_of(event, facts, each.effective_time)
        if visit is not None:
            level = max(level, visits.get(visit, -1) + 1)
            visits[visit] = level
        level = max(level, ids.get(event.id, -1) + 1)
        members[event.member] = ids[event.id] = level
        if visit is not None:
            visits[visit] = level
        if level == len(rounds):
            rounds.append([])
        rounds[level].append(each)
    return rounds
