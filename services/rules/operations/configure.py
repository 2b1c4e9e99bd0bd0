"""Changing what events are worth: every change is a new version of the program's ruleset."""

from collections.abc import Callable, Collection, Mapping
from typing import Any

from chassis.database import Connection
from services.rules.domain.catalogue import CATALOGUE, Category, EventType
from services.rules.domain.ruleset import (
    EarningRule,
    Ruleset,
    add_rule,
    check_etag,
    delete_rule,
    etag_of,
    rule_of,
    set_points,
    update_rule,
)
from services.rules.operations.context import Caller, RulesContext, peer_seconds
from services.rules.store.connections import transact
from services.rules.store.rulesets import locked_version, publish


def event_types(category: int) -> list[EventType]:
    """The types of the catalogue that may be configured, of one category or of all (0)."""
    wanted = Category(category)
    return [
        each
        for each in CATALOGUE.values()
        if each.configurable and wanted in {Category.HIDDEN, each.category}
    ]


async def ruleset_in_force(context: RulesContext, caller: Caller, program: str) -> Ruleset:
    """The ruleset as it is now. Refusals: PROGRAM_NOT_FOUND."""
    await context.programs.view(caller.organization, program, peer_seconds(), fresh=True)
    return await context.rulesets.in_force(caller.organization, program)


async def set_event_points(
    context: RulesContext,
    caller: Caller,
    program: str,
    changes: Mapping[str, int | None],
    etag: str,
) -> Ruleset:
    """Set what event types are worth, all or none. Refusals: EVENT_TYPE_UNKNOWN, ETAG_STALE."""

    def decide(ruleset: Ruleset) -> Ruleset:
        check_etag(etag, etag_of(ruleset))
        return set_points(ruleset, changes)

    await context.programs.view(caller.organization, program, peer_seconds(), fresh=True)
    return await _publish(context, caller, program, decide)


async def create_earning_rule(
    context: RulesContext, caller: Caller, program: str, rule: str, given: Mapping[str, Any]
) -> EarningRule:
    """Add a rule, or leave the equal one. Refusals: see `domain.ruleset.add_rule`.

    A program that earns by amount will be counted, and ladders can name the counters from now on.
    """
    view = await context.programs.view(caller.organization, program, peer_seconds(), fresh=True)
    view = await context.programs.ready_to_count(caller.organization, view, peer_seconds())
    asked = rule_of(rule, given)
    ruleset = await _publish(
        context, caller, program, lambda current: add_rule(current, asked, view.facts)
    )
    return ruleset.rule(rule)


async def update_earning_rule(
    context: RulesContext,
    caller: Caller,
    program: str,
    rule: str,
    given: Mapping[str, Any],
    mask: Collection[str],
    etag: str,
) -> EarningRule:
    """Change a rule by mask. Refusals: see `domain.ruleset.update_rule`."""
    view = await context.programs.view(caller.organization, program, peer_seconds(), fresh=True)
    ruleset = await _publish(
        context,
        caller,
        program,
        lambda current: update_rule(current, rule, given, mask, etag, view.facts),
    )
    return ruleset.rule(rule)


async def delete_earning_rule(
    context: RulesContext, caller: Caller, program: str, rule: str, etag: str
) -> None:
    """Take a rule away. Refusals: EARNING_RULE_NOT_FOUND, ETAG_STALE."""
    await context.programs.view(caller.organization, program, peer_seconds(), fresh=True)
    await _publish(context, caller, program, lambda current: delete_rule(current, rule, etag))


async def _publish(
    context: RulesContext,
    caller: Caller,
    program: str,
    decide: Callable[[Ruleset], Ruleset],
) -> Ruleset:
    key = await context.program_key(caller.organization, program)

    async def work(connection: Connection) -> Ruleset:
        version = await locked_version(connection, key)
        current = await context.rulesets.ruleset(connection, key, version)
        changed = decide(current)
        if changed is not current:
            await publish(connection, key, changed, context.clock(), caller.actor)
        return changed

    return await transact(context.writes, work)
