"""Who calls: a short-lived Ed25519 token that the gateway issues and every service verifies."""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

from joserfc import jwt
from joserfc.jwk import KeySet, OKPKey
from joserfc.jwt import JWTClaimsRegistry

from chassis.call import current_call
from chassis.refusals import CredentialInvalid
from chassis.settings import WrongSettings

ISSUER: Final = "loyalty-gateway"
AUDIENCE: Final = "loyalty"
# RFC 9864's name of EdDSA over Curve25519; nothing else is taken.
ALGORITHMS: Final = ("Ed25519",)

SCOPES: Final = frozenset(
    {
        "ledger:read",
        "ledger:write",
        "programs:read",
        "programs:write",
        "members:read",
        "members:write",
        "events:read",
        "events:write",
        "rules:read",
        "rules:write",
        "tiers:read",
        "tiers:write",
        "audiences:read",
        "audiences:write",
        "changes:read",
        "service",
        "platform",
        "me",
    }
)
"""Every scope that a credential can carry."""

MEMBER_SCOPE: Final = "me"
SERVICE_SCOPE: Final = "service"
"""Carried by the suite's own jobs only: streams show them the changes of all organizations."""

_TOKEN_CHARS_MAX = 4096
_CACHE_MAX = 10_000
_LEEWAY_SECONDS = 5
_RELOAD_SECONDS = 5.0

Jwk = Mapping[str, Any]
"""A JSON Web Key (RFC 7517)."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who calls. `member` and `program` are set for a member's own token only, and together."""

    organization: str
    scopes: frozenset[str]
    actor: str
    member: str | None = None
    program: str | None = None


@dataclass(frozen=True, slots=True)
class Scope:
    """What a method needs: a scope by name, and whether a member's own token reaches it too.

    For a member's token the request's `program` and `member` must be those of the token.
    """

    name: str
    member: bool = False

    def __post_init__(self) -> None:
        if self.name not in SCOPES:
            raise ValueError(f"there is no scope {self.name!r}")


def scopes_by_method(services: Mapping[str, Mapping[str, Scope]]) -> Mapping[str, Scope]:
    """Full method name → the scope that it needs, of a table by service and method."""
    return {
        f"/{service}/{method}": scope
        for service, methods in services.items()
        for method, scope in methods.items()
    }


class Verified(NamedTuple):
    """An identity and until when it holds, in seconds since 1970."""

    identity: Identity
    expires: float


class Identifies(Protocol):
    """Tells callers by their `authorization` header, as a `TokenVerifier` does."""

    def identify(self, header: str, /) -> Verified:
        """Who presents this header, and until when it holds. Refuses with CREDENTIAL_INVALID."""


def current_identity() -> Identity:
    """Who makes the call of this task. A `LookupError` outside of an authenticated call."""
    call = current_call()
    if call is None or call.identity is None:
        raise LookupError("no identity is bound: this runs outside of an authenticated call")
    return call.identity


class TokenVerifier:
    """Verifies `authorization` headers against the gateway's public keys.

    Verified tokens are remembered until they expire (at most 10,000 of them), because a signature
    costs 100 µs and a look-up one. Tokens that fail are not remembered: garbage takes no memory.
    """

    def __init__(
        self,
        jwks: Mapping[str, Any],
        *,
        now: Callable[[], float] = time.time,
        reload: Callable[[], Mapping[str, Any]] | None = None,
    ) -> None:
        """Trust the keys of `jwks`; `reload` reads them again when a token names an unknown key."""
        self._now = now
        self._reload = reload
        self._reload_after = 0.0
        self._jwks = jwks
        self._keys = _read_keys(jwks)
        self._verified: dict[str, Verified] = {}
        self._claims = JWTClaimsRegistry(
            now=lambda: int(self._now()),
            leeway=_LEEWAY_SECONDS,
            iss={"essential": True, "value": ISSUER},
            aud={"essential": True, "value": AUDIENCE},
            exp={"essential": True},
            nbf={"essential": True},
            iat={"essential": True},
        )

    def identify(self, header: str) -> Verified:
        """Who presents this `authorization` header. Refuses with CREDENTIAL_INVALID."""
        known = self._verified.get(header)
        if known is not None:
            if self._now() < known.expires:
                return known
            del self._verified[header]
            raise CredentialInvalid
        verified = self._verify(header)
        if len(self._verified) >= _CACHE_MAX:
            # Insertion order is nearly that of expiry, so the oldest is the one least missed.
            del self._verified[next(iter(self._verified))]
        self._verified[header] = verified
        return verified

    def _verify(self, header: str) -> Verified:
        scheme, _, token = header.partition(" ")
        if scheme.lower() != "bearer" or not 0 < len(token) <= _TOKEN_CHARS_MAX:
            raise CredentialInvalid
        try:
            decoded = jwt.decode(token, self._key_of, algorithms=ALGORITHMS)
            self._claims.validate(decoded.claims)
            verified = _read_claims(decoded.claims)
        except Exception:  # noqa: BLE001 - whatever a hostile token does to a parser is its fault
            raise CredentialInvalid from None
        # The leeway is for clocks that disagree about the beginning, not for outliving the end.
        if self._now() >= verified.expires:
            raise CredentialInvalid
        return verified

    def _key_of(self, guest: Any) -> OKPKey:
        kid = guest.headers().get("kid")
        key = self._keys.get(kid)
        if key is None and self._reload is not None and self._now() >= self._reload_after:
            self._reload_after = self._now() + _RELOAD_SECONDS
            jwks = self._reload()
            if jwks != self._jwks:
                # Only then: a stranger who names keys must not empty the memory of tokens.
                self._jwks, self._keys = jwks, _read_keys(jwks)
                self._verified.clear()
                key = self._keys.get(kid)
        if key is None:
            raise CredentialInvalid
        return key


class TokenIssuer:
    """Issues tokens: the gateway's for callers, and those of the services' own jobs."""

    def __init__(self, private_jwk: Jwk) -> None:
        """Sign with a private Ed25519 key (RFC 8037) that has a `kid`."""
        self._key = OKPKey.import_key(dict(private_jwk))
        self._header = {"alg": ALGORITHMS[0], "kid": str(private_jwk["kid"])}

    def issue(
        self, identity: Identity, *, lifetime_seconds: int = 900, now: float | None = None
    ) -> str:
        """A token for `identity` that holds from now for `lifetime_seconds`."""
        begin = int(time.time() if now is None else now)
        claims: dict[str, Any] = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "iat": begin,
            "nbf": begin,
            "exp": begin + lifetime_seconds,
            "org": identity.organization,
            "scopes": sorted(identity.scopes),
            "sub": identity.actor,
        }
        if identity.member is not None:
            claims["member"] = identity.member
            claims["program"] = identity.program
        return jwt.encode(self._header, claims, self._key, algorithms=ALGORITHMS)


def generate_keys() -> tuple[dict[str, Any], dict[str, Any]]:
    """A new key pair: the private JWK, and the JWKS with its public half."""
    key = OKPKey.generate_key("Ed25519", {"use": "sig", "alg": ALGORITHMS[0]}, auto_kid=True)
    return dict(key.as_dict(private=True)), dict(KeySet([key]).as_dict(private=False))


def read_verifier(path: Path) -> TokenVerifier:
    """A verifier that trusts the key set of a file; an unknown key makes it read it again.

    `WrongSettings` where the file cannot be read now.
    """
    return TokenVerifier(_read_key_file(path), reload=lambda: _read_key_file(path))


def read_issuer(path: Path) -> TokenIssuer:
    """An issuer that signs with the private key in a file; `WrongSettings` as above."""
    return TokenIssuer(_read_key_file(path))


def _read_key_file(path: Path) -> Jwk:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no JSON"
        raise WrongSettings(f"the key file {path} cannot be read: {reason}") from None
    if not isinstance(found, dict):
        raise WrongSettings(f"the key file {path} cannot be read: it is no JSON object")
    return found


def _read_keys(jwks: Mapping[str, Any]) -> dict[str, OKPKey]:
    keys = {}
    for jwk in jwks["keys"]:
        if jwk.get("kty") == "OKP" and jwk.get("crv") == "Ed25519" and jwk.get("kid"):
            public = {part: jwk[part] for part in ("kty", "crv", "x", "kid")}
            keys[str(jwk["kid"])] = OKPKey.import_key(public)
    return keys


def _read_claims(claims: Mapping[str, Any]) -> Verified:
    member, program = claims.get("member"), claims.get("program")
    scopes = claims["scopes"]
    if not isinstance(scopes, list):
        raise TypeError("scopes is a list")
    if (member is None) != (program is None):
        raise ValueError("member and program come together")
    identity = Identity(
        organization=_text(claims["org"]),
        scopes=frozenset(_text(scope) for scope in scopes),
        actor=_text(claims["sub"]),
        member=None if member is None else _text(member),
        program=None if program is None else _text(program),
    )
    return Verified(identity, float(claims["exp"]))


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise TypeError("a claim is a text that is not empty")
    return value
