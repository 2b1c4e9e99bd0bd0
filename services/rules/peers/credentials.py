"""With whose credential other services are called.

What a caller asks for is posted with the caller's own credential, so that the posting names who
asked. What rules need to know for themselves (a program's configuration, a tier) and what its job
does is asked for in the service's name, where it has the key to say so.
"""

import time
from collections import OrderedDict
from collections.abc import Callable

from chassis.call import outgoing_metadata
from chassis.identity import Identity, TokenIssuer
from services.rules.peers.channels import Metadata

ACTOR = "service:rules"
SCOPES = frozenset(
    {
        "ledger:read",
        "ledger:write",
        "programs:read",
        "programs:write",
        "tiers:read",
        "tiers:write",
    }
)
LIFETIME_SECONDS = 900
RENEW_SECONDS = 600
_ORGANIZATIONS_MAX = 10_000


class Credentials:
    """Metadata of outgoing calls."""

    def __init__(
        self, issuer: TokenIssuer | None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._issuer = issuer
        self._clock = clock
        self._tokens: OrderedDict[str, tuple[float, Metadata]] = OrderedDict()

    @property
    def own(self) -> bool:
        """Whether the service can speak for itself, without a caller."""
        return self._issuer is not None

    def caller(self) -> Metadata:
        """The caller's own credential."""
        return outgoing_metadata()

    def service(self, organization: str) -> Metadata:
        """The service's credential for an organization; the caller's where it has none."""
        if self._issuer is None:
            return outgoing_metadata()
        now = self._clock()
        known = self._tokens.get(organization)
        if known is None or now >= known[0]:
            identity = Identity(organization, SCOPES, ACTOR)
            token = self._issuer.issue(identity, lifetime_seconds=LIFETIME_SECONDS)
            known = (now + RENEW_SECONDS, (("authorization", f"Bearer {token}"),))
            self._tokens[organization] = known
            if len(self._tokens) > _ORGANIZATIONS_MAX:
                self._tokens.popitem(last=False)
        trace = tuple(pair for pair in outgoing_metadata() if pair[0] != "authorization")
        return (*known[1], *trace)
