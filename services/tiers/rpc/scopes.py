"""Who may call what. A method that is not named here cannot be called.

What is asked of the ledger on the way needs the caller's right there: `ledger:read` for members,
`programs:read` for counters.
"""

from collections.abc import Mapping

from chassis.identity import Scope, scopes_by_method

_SERVICES: Mapping[str, Mapping[str, Scope]] = {
    "loyalty.tiers.v1.TierService": {
        "CreateLadder": Scope("tiers:write"),
        "GetLadder": Scope("tiers:read"),
        "ListLadders": Scope("tiers:read"),
        "UpdateLadder": Scope("tiers:write"),
        "GetMembership": Scope("tiers:read", member=True),
        "BatchGetMemberships": Scope("tiers:read"),
        "EvaluateMember": Scope("tiers:write"),
        "BatchEvaluateMembers": Scope("tiers:write"),
        "ListMembershipHistory": Scope("tiers:read"),
        "WatchChanges": Scope("changes:read"),
    },
    "loyalty.common.v1.ClockService": {
        "CatchUp": Scope("programs:write"),
        "GetNextDue": Scope("programs:write"),
    },
}

SCOPES = scopes_by_method(_SERVICES)
"""Full method name → the scope that it needs."""
