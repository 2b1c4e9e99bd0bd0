"""Logging events and deciding what they come to: the transactions before the ledger is asked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from chassis.database import Connection
from kernel.refusals import Refusal
from services.rules.domain.evaluate import Judgement, TierRate, judge, with_visit
from services.rules.domain.events import Examined, Visit, examine
from services.rules.domain.facts import ProgramView
from services.rules.domain.refusals import EventIdReused, EventNotFound
from services.rules.domain.ruleset import Ruleset
from services.rules.operations.context import Caller, RulesContext
from services.rules.operations.outcomes import Asked, Outcome, Result
from services.rules.peers.ledger import post_bytes
from services.rules.store.connections import Raced, transact
from services.rules.store.events import (
    LoggedEvent,
    State,
    find_events,
    refusal_of,
    refuse_events,
    trace_text,
    write_events,
)
from services.rules.store.visits import claim_visits, release_visits


@dataclass(frozen=True, slots=True)
class Basis:
    """What all events of a request are decided on.

    `latest` is the latest instant that is not in the future. `resuming` goes on with unfinished
    events and takes no new ones in.
    """

    caller: Caller
    view: ProgramView
    key: int
    ruleset: Ruleset
    latest: datetime
    record_time: datetime
    first_number: int
    resuming: bool = False


@dataclass(slots=True)
class Decided:
    """What a transaction came to: results that stand, and events that wait.

    `waiting` are decided ones whose posting is sent next; in the first phase of a ruleset that
    reads tiers also logged ones, to be decided. `known` are those that were
    taken in before.
    """

    results: dict[int, Result] = field(default_factory=dict)
    waiting: dict[int, LoggedEvent] = field(default_factory=dict)
    known: set[int] = field(default_factory=set)


@dataclass(slots=True)
class _Draft:
    """An event about to be written, with what it was before."""

    asked: Asked
    before: LoggedEvent | None
    examined: Examined
    judgement: Judgement | None


async def log_events(context: RulesContext, basis: Basis, asked: Sequence[Asked]) -> Decided:
    """Log new events undecided, because deciding needs to ask somebody who may be away."""

    async def work(connection: Connection) -> Decided:
        decided, drafts, refused = await _look(connection, basis, asked, None, frozenset())
        if refused:
            await refuse(connection, basis.key, refused)
        logged = []
        for draft in drafts:
            if draft.before is not None and draft.before.state is State.LOGGED:
                decided.waiting[draft.asked.place] = draft.before
                continue
            event = _event(basis, draft, State.LOGGED)
            decided.waiting[draft.asked.place] = event
            logged.append(event)
        await _write(context, connection, basis, logged)
        return decided

    return await transact(context.writes, work)


async def decide_events(
    context: RulesContext,
    basis: Basis,
    asked: Sequence[Asked],
    tiers: Mapping[str, TierRate],
    again: frozenset[str] = frozenset(),
) -> Decided:
    """Log events with what they come to, so that whatever happens next can be done again.

    `tiers` are the rates by member, where the ruleset reads them. The events of `again` are decided
    anew though they were decided: the ledger said that what they rested on changed.
    """

    async def work(connection: Connection) -> Decided:
        decided, drafts, refused = await _look(connection, basis, asked, tiers, again)
        if refused:
            await refuse(connection, basis.key, refused)
        await _decide(context, connection, basis, decided, drafts)
        return decided

    return await transact(context.writes, work)


async def refuse(
    connection: Connection, key: int, refused: Sequence[tuple[LoggedEvent, Refusal]]
) -> set[str]:
    """Record refusals and give back the visits that the events counted.

    Answers the ids of those that are refused now: others were applied meanwhile.
    """
    visits = [
        (event.id, Visit(event.member, event.store, event.visit_day))
        for event, _ in refused
        if event.visit_day is not None
    ]
    # Visits before events, as where they are written: everybody takes locks in one order.
    if visits:
        await release_visits(connection, key, visits)
    return await refuse_events(connection, key, refused)


async def _look(
    connection: Connection,
    basis: Basis,
    asked: Sequence[Asked],
    tiers: Mapping[str, TierRate] | None,
    again: frozenset[str],
) -> tuple[Decided, list[_Draft], list[tuple[LoggedEvent, Refusal]]]:
    """Answer what is known already and judge the rest; `tiers` of None leaves it unjudged."""
    decided = Decided()
    drafts: list[_Draft] = []
    refused: list[tuple[LoggedEvent, Refusal]] = []
    found = await find_events(connection, basis.key, [each.event.id for each in asked])
    for each in asked:
        before = found.get(each.event.id)
        if before is not None and before.state is not State.REFUSED:
            if before.digest != each.event.digest:
                decided.results[each.place] = EventIdReused(each.event.id)
                continue
            decided.known.add(each.place)
            if before.state is State.DONE:
                decided.results[each.place] = Outcome(before)
                continue
            if before.state is State.DECIDED and before.id not in again:
                decided.waiting[each.place] = before
                continue
        elif basis.resuming:
            refusal = None if before is None else refusal_of(before)
            decided.results[each.place] = refusal or EventNotFound(each.event.id)
            continue
        try:
            drafts.append(_draft(basis, each, before, tiers))
        except Refusal as said:
            decided.results[each.place] = said
            if before is not None and before.state is not State.REFUSED:
                refused.append((before, said))
    return decided, drafts, refused


def _draft(
    basis: Basis, asked: Asked, before: LoggedEvent | None, tiers: Mapping[str, TierRate] | None
) -> _Draft:
    facts = basis.view.facts
    effective_time = asked.effective_time
    if before is not None and before.state is not State.REFUSED:
        effective_time = before.effective_time
    examined = examine(asked.event, facts, effective_time, basis.latest, asked.path)
    judgement = None
    if tiers is not None:
        judgement = judge(examined, basis.ruleset, facts, tiers.get(asked.event.member))
    return _Draft(asked, before, examined, judgement)


async def _decide(
    context: RulesContext,
    connection: Connection,
    basis: Basis,
    decided: Decided,
    drafts: Sequence[_Draft],
) -> None:
    # An event that is decided again keeps the visit that it counted, or did not.
    claims = {
        draft.examined.id: draft.examined.visit
        for draft in drafts
        if draft.examined.visit is not None
        and (draft.before is None or draft.before.state is not State.DECIDED)
    }
    counted = await claim_visits(connection, basis.key, claims) if claims else set()
    written = []
    for draft in drafts:
        before, examined = draft.before, draft.examined
        kept = before is not None and before.state is State.DECIDED
        counts = before.visit_day is not None if kept and before else examined.id in counted
        assert draft.judgement is not None
        judgement = with_visit(draft.judgement, examined, counted=counts)
        state = State.DONE if judgement.empty else State.DECIDED
        event = replace(
            _event(basis, draft, state),
            ruleset=basis.ruleset.version,
            trace=trace_text(judgement.trace),
            visit_day=examined.visit.day if counts and examined.visit else None,
            post=None if judgement.empty else _post(basis, draft, judgement),
        )
        written.append(event)
        place = draft.asked.place
        if judgement.empty:
            decided.results[place] = Outcome(event)
        else:
            decided.waiting[place] = event
    await _write(context, connection, basis, written)


def _post(basis: Basis, draft: _Draft, judgement: Judgement) -> bytes:
    return post_bytes(
        basis.view.id,
        draft.asked.event.member,
        draft.examined,
        judgement,
        basis.view.facts,
        basis.ruleset.version,
    )


def _event(basis: Basis, draft: _Draft, state: State) -> LoggedEvent:
    event, before = draft.asked.event, draft.before
    first = before is None or before.state is State.REFUSED
    return LoggedEvent(
        id=event.id,
        number=basis.first_number + draft.asked.place if first or before is None else before.number,
        member=event.member,
        type=event.type,
        store=event.store,
        state=state,
        attempt=1 if before is None else before.attempt + 1,
        digest=event.digest,
        content=event.content,
        effective_time=draft.examined.effective_time,
        create_time=basis.record_time if first or before is None else before.create_time,
        actor=basis.caller.actor if first or before is None else before.actor,
    )


async def _write(
    context: RulesContext, connection: Connection, basis: Basis, events: Sequence[LoggedEvent]
) -> None:
    if not events:
        return
    due_time = context.clock() + timedelta(seconds=context.redrive_after_seconds)
    written = await write_events(connection, basis.key, events, due_time)
    if len(written) != len(events):
        # Somebody else logged or moved one of them since it was read: look again.
        raise Raced
