"""Who may call what. A method that is not named here cannot be called."""

from collections.abc import Mapping

from chassis.identity import Scope

_SERVICES: Mapping[str, Mapping[str, Scope]] = {
    "loyalty.ledger.v1.LedgerService": {
        "Earn": Scope("ledger:write"),
        "Redeem": Scope("ledger:write"),
        "Adjust": Scope("ledger:write"),
        "Count": Scope("ledger:write"),
        "Post": Scope("ledger:write"),
        "BatchPost": Scope("ledger:write"),
        "TransferPoints": Scope("ledger:write"),
        "RedeemAcrossPrograms": Scope("ledger:write"),
        "CreateHold": Scope("ledger:write"),
        "CaptureHold": Scope("ledger:write"),
        "ReleaseHold": Scope("ledger:write"),
        "GetHold": Scope("ledger:read"),
        "ListHolds": Scope("ledger:read"),
        "ListMemberAccounts": Scope("ledger:read"),
        "ActivatePending": Scope("ledger:write"),
        "ReversePosting": Scope("ledger:write"),
        "QuoteRedemption": Scope("ledger:read", member=True),
        "GetAccount": Scope("ledger:read", member=True),
        "BatchGetAccounts": Scope("ledger:read"),
        "GetPosting": Scope("ledger:read"),
        "GetStatement": Scope("ledger:read", member=True),
        "ListEntries": Scope("ledger:read", member=True),
        "ListLots": Scope("ledger:read"),
        "ListExpirations": Scope("ledger:read", member=True),
        "VerifyAccount": Scope("ledger:read"),
        "WatchChanges": Scope("changes:read"),
    },
    "loyalty.ledger.v1.ProgramService": {
        "CreateOrganization": Scope("platform"),
        "GetOrganization": Scope("programs:read"),
        "UpdateOrganization": Scope("programs:write"),
        "CreateProgram": Scope("programs:write"),
        "GetProgram": Scope("programs:read"),
        "ListPrograms": Scope("programs:read"),
        "UpdateProgram": Scope("programs:write"),
        "CreateCurrency": Scope("programs:write"),
        "ListCurrencies": Scope("programs:read"),
        "CreateCounter": Scope("programs:write"),
        "ListCounters": Scope("programs:read"),
        "AdvanceClock": Scope("programs:write"),
        "GetProgramSettings": Scope("programs:read"),
        "UpdateProgramSettings": Scope("programs:write"),
        "BatchUpdateProgramSettings": Scope("programs:write"),
        "ListSettingsRevisions": Scope("programs:read"),
        "RestoreSettingsRevision": Scope("programs:write"),
    },
    "loyalty.ledger.v1.AccountService": {
        "EnrolMember": Scope("members:write"),
        "GetMember": Scope("members:read"),
        "LookupMember": Scope("members:read"),
        "UpdateMember": Scope("members:write"),
        "ImportMembers": Scope("members:write"),
        "EraseMember": Scope("members:write"),
        "FreezeMember": Scope("members:write"),
        "UnfreezeMember": Scope("members:write"),
        "ListMembers": Scope("members:read"),
        "MergeMembers": Scope("members:write"),
        "CreateGroup": Scope("members:write"),
        "GetGroup": Scope("members:read"),
        "UpdateGroup": Scope("members:write"),
        "ListGroups": Scope("members:read"),
        "AddGroupMember": Scope("members:write"),
        "RemoveGroupMember": Scope("members:write"),
        "ListGroupMembers": Scope("members:read"),
    },
    "loyalty.ledger.v1.ProofService": {
        "VerifyProgram": Scope("ledger:read"),
        "CreateCheckpoint": Scope("platform"),
        "GetCheckpoint": Scope("platform"),
        "ListCheckpoints": Scope("platform"),
        "ReadLeaves": Scope("platform"),
    },
    "loyalty.ledger.v1.ReportService": {
        "GetLiability": Scope("ledger:read"),
        "ListRedemptions": Scope("ledger:read"),
        "ReconcileProgram": Scope("ledger:read"),
    },
    "loyalty.common.v1.ClockService": {
        "CatchUp": Scope("programs:write"),
        "GetNextDue": Scope("programs:write"),
    },
}

SCOPES: Mapping[str, Scope] = {
    f"/{service}/{method}": scope
    for service, methods in _SERVICES.items()
    for method, scope in methods.items()
}
"""Full method name → the scope that it needs."""
