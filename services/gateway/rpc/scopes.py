"""Who may call which of the gateway's methods."""

from collections.abc import Mapping

from chassis.identity import Scope

SCOPES: Mapping[str, Scope] = {
    "/loyalty.gateway.v1.ProfileService/GetProfile": Scope("ledger:read", member=True),
    "/loyalty.ledger.v1.ProgramService/AdvanceClock": Scope("programs:write"),
    # A member's token reads the ledger, so whoever issues one must be able to.
    "/loyalty.gateway.v1.CredentialService/IssueToken": Scope("ledger:read"),
}
