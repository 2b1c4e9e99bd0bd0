"""What a service shows where it asks others on its own account, and not on a caller's."""

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Final

from chassis.call import outgoing_trace
from chassis.channels import Metadata
from chassis.identity import SERVICE_SCOPE, Identity, TokenIssuer

ALL_ORGANIZATIONS: Final = "-"
"""The organization of a credential that belongs to none: what is followed is of all of them."""

_FOLLOWING: Final = frozenset({"changes:read", SERVICE_SCOPE})
_KEPT_MAX = 10_000


class OwnCredentials:
    """Signs short-lived tokens of a service's own, and keeps them until they are to be renewed.

    `actor` is recorded as whoever did what the service does by itself, such as `service:rules`;
    `scopes` are what it may do in the organization of whoever calls, or whose postings it follows.
    """

    def __init__(
        self,
        issuer: TokenIssuer,
        actor: str,
        scopes: Iterable[str],
        *,
        lifetime_seconds: int = 900,
        renew_seconds: float = 600.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._issuer = issuer
        self._actor = actor
        self._scopes = frozenset(scopes)
        self._lifetime_seconds = lifetime_seconds
        self._renew_seconds = renew_seconds
        self._clock = clock
        self._kept: OrderedDict[tuple[str, frozenset[str]], tuple[float, Metadata]] = OrderedDict()

    def following(self) -> Metadata:
        """To follow the changes of all organizations."""
        return self._kept_or_signed(ALL_ORGANIZATIONS, _FOLLOWING)

    def acting_for(self, organization: str) -> Metadata:
        """To do in one organization what the scopes say, in the trace of the call at hand."""
        return (*self._kept_or_signed(organization, self._scopes), *outgoing_trace())

    def _kept_or_signed(self, organization: str, scopes: frozenset[str]) -> Metadata:
        now = self._clock()
        key = (organization, scopes)
        kept = self._kept.get(key)
        if kept is None or now >= kept[0]:
            identity = Identity(organization, scopes, self._actor)
            token = self._issuer.issue(identity, lifetime_seconds=self._lifetime_seconds)
            kept = (now + self._renew_seconds, (("authorization", f"Bearer {token}"),))
            self._kept[key] = kept
            if len(self._kept) > _KEPT_MAX:
                self._kept.popitem(last=False)
        return kept[1]
