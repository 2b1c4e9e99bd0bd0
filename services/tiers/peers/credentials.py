"""The credentials of this service's own jobs."""

import json
import time
from collections import OrderedDict
from pathlib import Path
from typing import Any

from chassis.identity import SERVICE_SCOPE, Identity, TokenIssuer

ACTOR = "service:tiers"
NOBODY = "-"
"""The organization of a credential that belongs to none."""

_LIFETIME_SECONDS = 900
_RENEW_SECONDS = 120
_KEPT_MAX = 1_000

Metadata = tuple[tuple[str, str], ...]


class Credentials:
    """Mints short tokens with the suite's key, and keeps them while they hold."""

    def __init__(self, private_jwk: dict[str, Any]) -> None:
        self._issuer = TokenIssuer(private_jwk)
        self._kept: OrderedDict[str, tuple[float, Metadata]] = OrderedDict()

    def following(self) -> Metadata:
        """To follow the changes of all organizations."""
        return self._minted(NOBODY, frozenset({"changes:read", SERVICE_SCOPE}))

    def acting_for(self, organization: str) -> Metadata:
        """To read an organization's accounts."""
        return self._minted(organization, frozenset({"ledger:read"}))

    def _minted(self, organization: str, scopes: frozenset[str]) -> Metadata:
        now = time.time()
        kept = self._kept.get(organization)
        if kept is not None and now < kept[0]:
            return kept[1]
        token = self._issuer.issue(
            Identity(organization, scopes, ACTOR), lifetime_seconds=_LIFETIME_SECONDS, now=now
        )
        metadata = (("authorization", f"Bearer {token}"),)
        self._kept[organization] = (now + _LIFETIME_SECONDS - _RENEW_SECONDS, metadata)
        if len(self._kept) > _KEPT_MAX:
            self._kept.popitem(last=False)
        return metadata


def read_credentials(path: Path) -> Credentials:
    """Credentials signed with the private key in a file. `OSError` where it cannot be read."""
    return Credentials(json.loads(path.read_text()))
