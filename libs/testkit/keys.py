"""A key pair for tests, made once a process, and tokens signed with it."""

from collections.abc import Iterable
from functools import cache
from typing import Any

from chassis.identity import SCOPES, Identity, TokenIssuer, TokenVerifier, generate_keys


@cache
def key_pair() -> tuple[dict[str, Any], dict[str, Any]]:
    """The private JWK and the JWKS that verifies it."""
    return generate_keys()


@cache
def issuer() -> TokenIssuer:
    """Signs with the test key."""
    return TokenIssuer(key_pair()[0])


def verifier() -> TokenVerifier:
    """A new verifier that trusts the test key."""
    return TokenVerifier(key_pair()[1])


def token(
    organization: str = "acme",
    scopes: Iterable[str] | None = None,
    actor: str = "tester",
    *,
    member: str | None = None,
    program: str | None = None,
    lifetime_seconds: int = 900,
    now: float | None = None,
) -> str:
    """A token; with every scope but `me` where none are given, with `me` alone for a member."""
    if scopes is None:
        scopes = SCOPES - {"me"} if member is None else {"me"}
    identity = Identity(organization, frozenset(scopes), actor, member, program)
    return issuer().issue(identity, lifetime_seconds=lifetime_seconds, now=now)


def metadata(signed: str | None = None) -> tuple[tuple[str, str], ...]:
    """The metadata of a call that carries a token; one of `token()` where none is given."""
    return (("authorization", f"Bearer {token() if signed is None else signed}"),)
