"""`EarningService`: what events are worth."""

from chassis.paging import decode_token, encode_token, page_size
from kernel.refusals import FieldViolation, InvalidField
from loyalty.rules.v1 import earning_pb2
from loyalty.rules.v1.earning_pb2_grpc import EarningServiceServicer
from services.rules.operations import configure
from services.rules.operations.context import RulesContext
from services.rules.rpc import translate
from services.rules.rpc.calls import Context, current_caller


class EarningServicer(EarningServiceServicer):
    """Translates, and decides nothing."""

    def __init__(self, context: RulesContext) -> None:
        self._rules = context

    async def ListEventTypes(
        self, request: earning_pb2.ListEventTypesRequest, context: Context
    ) -> earning_pb2.ListEventTypesResponse:
        """List the catalogue with its points."""
        ruleset = await configure.ruleset_in_force(self._rules, current_caller(), request.program)
        return translate.event_types_message(configure.event_types(request.category), ruleset)

    async def SetEventPoints(
        self, request: earning_pb2.SetEventPointsRequest, context: Context
    ) -> earning_pb2.ListEventTypesResponse:
        """Set what event types are worth."""
        changes: dict[str, int | None] = {}
        for place, each in enumerate(request.event_points):
            if each.type in changes:
                raise InvalidField(FieldViolation(f"event_points[{place}].type", "is there twice"))
            changes[each.type] = each.points if each.HasField("points") else None
        ruleset = await configure.set_event_points(
            self._rules, current_caller(), request.program, changes, request.etag
        )
        return translate.event_types_message(configure.event_types(0), ruleset)

    async def CreateEarningRule(
        self, request: earning_pb2.CreateEarningRuleRequest, context: Context
    ) -> earning_pb2.EarningRule:
        """Add a rule."""
        created = await configure.create_earning_rule(
            self._rules,
            current_caller(),
            request.program,
            request.rule,
            translate.rule_given(request.earning_rule),
        )
        return translate.rule_message(created)

    async def GetEarningRule(
        self, request: earning_pb2.GetEarningRuleRequest, context: Context
    ) -> earning_pb2.EarningRule:
        """Answer one rule."""
        ruleset = await configure.ruleset_in_force(self._rules, current_caller(), request.program)
        return translate.rule_message(ruleset.rule(request.rule))

    async def ListEarningRules(
        self, request: earning_pb2.ListEarningRulesRequest, context: Context
    ) -> earning_pb2.ListEarningRulesResponse:
        """List the rules by id."""
        caller = current_caller()
        query = {
            "list": "earning_rules",
            "organization": caller.organization,
            "program": request.program,
        }
        position = decode_token(request.page_token, query, (str,))
        after = str(position[0]) if position else ""
        size = page_size(request.page_size)
        ruleset = await configure.ruleset_in_force(self._rules, caller, request.program)
        left = [rule for rule in ruleset.rules if rule.id > after]
        return earning_pb2.ListEarningRulesResponse(
            earning_rules=[translate.rule_message(rule) for rule in left[:size]],
            next_page_token=encode_token(query, (left[size - 1].id,)) if len(left) > size else "",
        )

    async def UpdateEarningRule(
        self, request: earning_pb2.UpdateEarningRuleRequest, context: Context
    ) -> earning_pb2.EarningRule:
        """Change a rule."""
        changed = await configure.update_earning_rule(
            self._rules,
            current_caller(),
            request.program,
            request.rule,
            translate.rule_given(request.earning_rule),
            request.update_mask.paths,
            request.etag,
        )
        return translate.rule_message(changed)

    async def DeleteEarningRule(
        self, request: earning_pb2.DeleteEarningRuleRequest, context: Context
    ) -> earning_pb2.DeleteEarningRuleResponse:
        """Take a rule away."""
        await configure.delete_earning_rule(
            self._rules, current_caller(), request.program, request.rule, request.etag
        )
        return earning_pb2.DeleteEarningRuleResponse()
