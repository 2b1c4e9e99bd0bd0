"""With whose credential other services are called.

What a caller asks for is posted with the caller's own credential, so that the posting names who
asked. What rules need to know for themselves (a program's configuration, a tier) and what its job
does is asked for in the service's name, where it has the key to say so.
"""

from chassis.call import outgoing_metadata
from chassis.channels import Metadata
from chassis.credentials import OwnCredentials

ACTOR = "service:rules"
OWN_SCOPES = frozenset(
    {
        "ledger:read",
        "ledger:write",
        "programs:read",
        "programs:write",
        "tiers:read",
        "tiers:write",
    }
)


class Credentials:
    """Metadata of outgoing calls; `own` is None where the service has no key."""

    def __init__(self, own: OwnCredentials | None) -> None:
        self.own = own

    def caller(self) -> Metadata:
        """The caller's own credential."""
        return outgoing_metadata()

    def service(self, organization: str) -> Metadata:
        """The service's credential for an organization; the caller's where it has none."""
        return self.caller() if self.own is None else self.own.acting_for(organization)
