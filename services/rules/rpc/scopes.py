"""Who may call what. A method that is not named here cannot be called."""

from collections.abc import Mapping

from chassis.identity import Scope, scopes_by_method

_SERVICES: Mapping[str, Mapping[str, Scope]] = {
    "loyalty.rules.v1.EarningService": {
        "ListEventTypes": Scope("rules:read"),
        "SetEventPoints": Scope("rules:write"),
        "CreateEarningRule": Scope("rules:write"),
        "GetEarningRule": Scope("rules:read"),
        "ListEarningRules": Scope("rules:read"),
        "UpdateEarningRule": Scope("rules:write"),
        "DeleteEarningRule": Scope("rules:write"),
    },
    # What is submitted is posted with the caller's credential, so that it needs `ledger:write` too.
    "loyalty.rules.v1.EventService": {
        "SubmitEvent": Scope("events:write"),
        "BatchSubmitEvents": Scope("events:write"),
        "GetEvent": Scope("events:read"),
        "ListEvents": Scope("events:read"),
    },
    "loyalty.common.v1.ClockService": {
        "CatchUp": Scope("programs:write"),
        "GetNextDue": Scope("programs:write"),
    },
}

SCOPES = scopes_by_method(_SERVICES)
"""Full method name → the scope that it needs."""
