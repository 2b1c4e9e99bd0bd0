"""Who calls: an API key or a token becomes an identity, and a token that services verify."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from chassis.identity import Identity, TokenIssuer, TokenVerifier, Verified
from chassis.refusals import CredentialInvalid, CredentialMissing
from services.gateway.store.credentials import CredentialsFile

_MINTED_MAX = 10_000


@dataclass(frozen=True, slots=True)
class Admission:
    """An admitted caller. `authorization` is the header that is sent on to the services."""

    identity: Identity
    authorization: str


class Credentials:
    """Admits callers by the header `Authorization: Bearer <JWT or API key>`.

    It `Identifies` callers, too, so that the gateway's own gRPC port takes API keys.
    A caller's token is sent on as it is; for an API key a token of `lifetime_seconds` is minted and
    kept for half of them.
    """

    def __init__(
        self,
        verifier: TokenVerifier,
        issuer: TokenIssuer,
        keys: CredentialsFile,
        *,
        lifetime_seconds: int = 300,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._verifier = verifier
        self._issuer = issuer
        self._keys = keys
        self._lifetime = lifetime_seconds
        self._now = now
        self._minted: dict[Identity, tuple[float, Admission]] = {}

    def admit(self, header: str | None) -> Admission:
        """The caller with this header. Refuses with CREDENTIAL_MISSING or CREDENTIAL_INVALID."""
        if not header:
            raise CredentialMissing
        scheme, _, credential = header.partition(" ")
        credential = credential.strip()
        if scheme.lower() != "bearer" or not credential or not credential.isascii():
            raise CredentialInvalid
        if credential.count(".") == 2:
            authorization = f"Bearer {credential}"
            return Admission(self._verifier.identify(authorization).identity, authorization)
        identity = self._keys.find(credential)
        if identity is None:
            raise CredentialInvalid
        return self._admission(identity)

    def identify(self, header: str) -> Verified:
        """Who presents this `authorization` header, and until when it holds: a key for ever."""
        scheme, _, credential = header.partition(" ")
        if scheme.lower() == "bearer" and credential.count(".") != 2:
            return Verified(self.admit(header).identity, float("inf"))
        return self._verifier.identify(header)

    def _admission(self, identity: Identity) -> Admission:
        now = self._now()
        renew, admission = self._minted.get(identity, (0.0, None))
        if admission is None or now >= renew:
            token = self._issuer.issue(identity, lifetime_seconds=self._lifetime, now=now)
            admission = Admission(identity, f"Bearer {token}")
            if len(self._minted) >= _MINTED_MAX:
                del self._minted[next(iter(self._minted))]
            self._minted[identity] = (now + self._lifetime / 2, admission)
        return admission
