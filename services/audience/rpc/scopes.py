"""Who may call what. A method that is not named here cannot be called."""

from collections.abc import Mapping

from chassis.identity import Scope, scopes_by_method

_SERVICES: Mapping[str, Mapping[str, Scope]] = {
    "loyalty.audience.v1.AudienceService": {
        "CreateAudience": Scope("audiences:write"),
        "GetAudience": Scope("audiences:read"),
        "ListAudiences": Scope("audiences:read"),
        "UpdateAudience": Scope("audiences:write"),
        "DeleteAudience": Scope("audiences:write"),
        "CheckMembership": Scope("audiences:read"),
        "ListMemberAudiences": Scope("audiences:read", member=True),
        "ListAudienceMembers": Scope("audiences:read"),
        "PreviewAudience": Scope("audiences:read"),
    },
    "loyalty.common.v1.ClockService": {
        "CatchUp": Scope("programs:write"),
        "GetNextDue": Scope("programs:write"),
    },
}

SCOPES = scopes_by_method(_SERVICES)
"""Full method name → the scope that it needs."""
