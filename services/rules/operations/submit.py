"""Taking in events: logged, decided, posted, evaluated; each step again where it was cut short.

Whatever is written before another service is asked says how to go on, so that a crash between any
two steps is repaired by submitting the event again, or by the job that takes up unfinished ones.
"""

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import replace

from chassis.call import remaining_seconds
from chassis.database import Connection
from chassis.refusals import DeadlinePassed
from kernel.refusals import Refusal
from services.rules.domain.catalogue import PURCHASE
from services.rules.domain.events import Event
from services.rules.operations.context import Caller, RulesContext, peer_seconds
from services.rules.operations.decide import Basis, Decided, decide_events, log_events, refuse
from services.rules.operations.levels import in_rounds
from services.rules.operations.outcomes import (
    CHANGED,
    FINAL,
    Asked,
    Outcome,
    Result,
    posted,
)
from services.rules.operations.standings import Standings
from services.rules.peers.event_message import logged_at
from services.rules.peers.ledger import Posted
from services.rules.store.connections import transact
from services.rules.store.events import LoggedEvent, State, find_events, finish_events

_DECISIONS_MAX = 5


async def submit_event(
    context: RulesContext, caller: Caller, program: str, event: Event
) -> Outcome:
    """Take in one event; answered with the account and the membership after it.

    Refusals: those of `domain.events.examine`, REQUEST_ID_REUSED, those of the ledger's `Post`.
    """
    submission = Submission(context, caller, program, brief=False, single=True)
    result = (await submission.run([event]))[0]
    if isinstance(result, Refusal):
        raise result
    return result


async def submit_events(
    context: RulesContext, caller: Caller, program: str, events: Sequence[Event], *, brief: bool
) -> list[Result]:
    """Take in events, each answered by itself, with the result of one after the other.

    Unless `brief`, accounts and memberships are those after all of them.
    """
    submission = Submission(context, caller, program, brief=brief, single=False)
    return await submission.run(events)


async def resume_events(
    context: RulesContext, caller: Caller, program: str, events: Sequence[Event]
) -> list[Result]:
    """Go on with events that were logged and not finished; those refused meanwhile stay refused."""
    submission = Submission(context, caller, program, brief=True, single=False, resuming=True)
    return await submission.run(events)


class Submission:
    """One request on its way."""

    def __init__(
        self,
        context: RulesContext,
        caller: Caller,
        program: str,
        *,
        brief: bool,
        single: bool,
        resuming: bool = False,
    ) -> None:
        self._context = context
        self._caller = caller
        self._program = program
        self._brief = brief
        self._single = single
        self._resuming = resuming
        self._standings = Standings(context, caller.organization, program)

    async def run(self, events: Sequence[Event]) -> list[Result]:
        """Take in the events; the results are in their order."""
        basis = await self._basis(events)
        asked = [
            Asked(
                place,
                "event." if self._single else f"events[{place}].",
                event,
                event.effective_time or basis.view.now,
            )
            for place, event in enumerate(events)
        ]
        results: dict[int, Result] = {}
        organization = self._caller.organization
        names = [(organization, self._program, event.member) for event in events]
        one_each = basis.ruleset.reads_tiers()
        async with self._context.locks.hold(names):
            for items in in_rounds(asked, basis.view.facts, one_each=one_each):
                results |= await self._round(basis, items)
        if not one_each:
            # Nothing that follows rests on where the member stands, so nobody waits for it.
            await self._evaluate(results)
        if not self._brief:
            await self._complete(results)
        return [results[place] for place in range(len(events))]

    async def _basis(self, events: Sequence[Event]) -> Basis:
        context, caller = self._context, self._caller
        view, ruleset = await asyncio.gather(
            context.programs.view(caller.organization, self._program, peer_seconds()),
            context.rulesets.in_force(caller.organization, self._program),
        )
        if any(event.type == PURCHASE for event in events):
            view = await context.programs.ready_to_count(caller.organization, view, peer_seconds())
        key = await context.program_key(caller.organization, self._program)
        clock = context.clock()
        return Basis(
            caller=caller,
            view=view,
            key=key,
            ruleset=ruleset,
            latest=view.now if view.facts.sandbox else max(view.now, clock),
            record_time=clock,
            first_number=context.first_number(clock),
            resuming=self._resuming,
        )

    async def _round(self, basis: Basis, items: Sequence[Asked]) -> dict[int, Result]:
        if remaining_seconds() <= 0:
            # Of these nothing is written yet.
            return {each.place: DeadlinePassed() for each in items}
        results: dict[int, Result] = {}
        again: frozenset[str] = frozenset()
        known: set[int] = set()
        left = list(items)
        for attempt in range(_DECISIONS_MAX):
            decided = await self._decided(basis, left, again)
            if attempt == 0:
                known = decided.known
            results |= decided.results
            answers = await self._post(basis, decided, known)
            results |= answers
            again = frozenset(
                decided.waiting[place].id
                for place, answer in answers.items()
                if isinstance(answer, Refusal) and answer.reason == CHANGED
            )
            left = [each for each in left if each.event.id in again]
            if not left:
                break
        results = {
            place: replace(result, replayed=place in known)
            if isinstance(result, Outcome)
            else result
            for place, result in results.items()
        }
        if basis.ruleset.reads_tiers():
            await self._evaluate(results)
        return results

    async def _decided(
        self, basis: Basis, items: Sequence[Asked], again: frozenset[str]
    ) -> Decided:
        if not basis.ruleset.reads_tiers():
            return await decide_events(self._context, basis, items, {}, again)
        logged = await log_events(self._context, basis, items)
        undecided = [
            each
            for each in items
            if each.place in logged.waiting
            and (logged.waiting[each.place].state is State.LOGGED or each.event.id in again)
        ]
        if not undecided:
            return logged
        try:
            rates = await self._standings.rates([each.event.member for each in undecided])
        except Refusal as refusal:
            # They stay logged; the job takes them up when tiers are back.
            for each in undecided:
                del logged.waiting[each.place]
                logged.results[each.place] = refusal
            return logged
        decided = await decide_events(self._context, basis, undecided, rates, again)
        waiting = {
            place: event for place, event in logged.waiting.items() if place not in decided.results
        }
        return Decided(logged.results | decided.results, waiting | decided.waiting, logged.known)

    async def _post(
        self, basis: Basis, decided: Decided, known: Collection[int]
    ) -> dict[int, Result]:
        """Send what was decided, record what the ledger said, and answer it.

        What was logged by an earlier request is said to be so: the member may have joined or left a
        group since, or been erased.
        """
        waiting = sorted(decided.waiting.items())
        if not waiting:
            return {}
        posts = [
            logged_at(event.post or b"", event.create_time) if place in known else event.post or b""
            for place, event in waiting
        ]
        ledger, credential = self._context.ledger, self._caller.posting
        answers: Sequence[Posted | Refusal]
        if self._single:
            answers = [await ledger.post(posts[0], peer_seconds(), credential)]
        else:
            answers = await ledger.batch_post(self._program, posts, peer_seconds(), credential)
        results: dict[int, Result] = {}
        finished: list[tuple[LoggedEvent, bytes]] = []
        refused: list[tuple[LoggedEvent, Refusal]] = []
        for (place, event), answer in zip(waiting, answers, strict=True):
            if isinstance(answer, Posted):
                finished.append((event, answer.posting))
                results[place] = Outcome(
                    posted(event, answer.posting),
                    moved=True,
                    account=answer.account,
                )
            else:
                results[place] = answer
                if answer.reason in FINAL:
                    refused.append((event, answer))
        applied = await self._record(basis.key, finished, refused)
        for place, event in waiting:
            if event.id in applied:
                results[place] = Outcome(applied[event.id])
        return results

    async def _record(
        self,
        key: int,
        finished: Sequence[tuple[LoggedEvent, bytes]],
        refused: Sequence[tuple[LoggedEvent, Refusal]],
    ) -> dict[str, LoggedEvent]:
        """Record the ends of events; answer those that another one finished though we were refused.

        What the ledger applied is found out again by sending it again, so that it may be lost.
        """

        async def work(connection: Connection) -> dict[str, LoggedEvent]:
            gone = await refuse(connection, key, refused) if refused else set()
            if finished:
                await finish_events(connection, key, finished)
            others = [event.id for event, _ in refused if event.id not in gone]
            found = await find_events(connection, key, others) if others else {}
            return {name: event for name, event in found.items() if event.state is State.DONE}

        if not finished and not refused:
            return {}
        return await transact(self._context.writes, work, durable=bool(refused))

    async def _evaluate(self, results: dict[int, Result]) -> None:
        """Evaluate the members that were posted to, and add where they stand to their outcomes."""
        moved = {
            place: result
            for place, result in results.items()
            if isinstance(result, Outcome) and result.moved
        }
        members = list(dict.fromkeys(result.event.member for result in moved.values()))
        if not members:
            return
        standings = await self._standings.evaluate(members)
        for place, result in moved.items():
            standing = standings.get(result.event.member)
            if standing is not None:
                results[place] = replace(result, membership=standing.membership)

    async def _complete(self, results: dict[int, Result]) -> None:
        """Add the accounts and memberships that are missing, as far as they can be had."""
        outcomes = {
            place: result for place, result in results.items() if isinstance(result, Outcome)
        }
        accounts, memberships = await asyncio.gather(
            self._accounts([each for each in outcomes.values() if each.account is None]),
            self._standings.known(
                [
                    each.event.member
                    for each in outcomes.values()
                    if each.membership is None and not each.moved
                ]
            ),
        )
        for place, outcome in outcomes.items():
            standing = memberships.get(outcome.event.member)
            membership = outcome.membership
            if membership is None and standing is not None:
                membership = standing.membership
            results[place] = replace(
                outcome,
                account=outcome.account or accounts.get(outcome.event.member),
                membership=membership,
            )

    async def _accounts(self, outcomes: Sequence[Outcome]) -> dict[str, bytes]:
        members = list(dict.fromkeys(each.event.member for each in outcomes))
        if not members:
            return {}
        metadata = self._context.credentials.service(self._caller.organization)
        try:
            return await self._context.ledger.accounts(
                self._program, members, peer_seconds(), metadata
            )
        except Refusal:
            # The events are taken in whether or not the account can be shown.
            return {}
