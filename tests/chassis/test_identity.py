"""Tokens: what is taken, and what is not."""

import base64
import json
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import OctKey, OKPKey

from chassis.identity import (
    ALGORITHMS,
    AUDIENCE,
    ISSUER,
    Identity,
    Scope,
    TokenIssuer,
    TokenVerifier,
    current_identity,
    generate_keys,
)
from chassis.refusals import CredentialInvalid

NOW = 1_800_000_000.0
PRIVATE, JWKS = generate_keys()
WHO = Identity("acme", frozenset({"ledger:read"}), "tester")
CLAIMS: dict[str, Any] = {
    "iss": ISSUER,
    "aud": AUDIENCE,
    "iat": int(NOW),
    "nbf": int(NOW),
    "exp": int(NOW) + 900,
    "org": "acme",
    "scopes": ["ledger:read"],
    "sub": "tester",
}
GONE = object()


def signed(**changes: Any) -> str:
    claims = {key: value for key, value in (CLAIMS | changes).items() if value is not GONE}
    header = {"alg": ALGORITHMS[0], "kid": PRIVATE["kid"]}
    return jwt.encode(header, claims, OKPKey.import_key(PRIVATE), algorithms=ALGORITHMS)


def verifier(now: float = NOW) -> TokenVerifier:
    return TokenVerifier(JWKS, now=lambda: now)


def test_an_issued_token_is_verified_to_the_identity_it_was_made_for() -> None:
    member = Identity("acme", frozenset({"me"}), "m-1", member="m-1", program="gold")
    issuer = TokenIssuer(PRIVATE)

    for identity in (WHO, member):
        token = issuer.issue(identity, lifetime_seconds=60, now=NOW)
        assert verifier().identify(f"Bearer {token}") == (identity, NOW + 60)
        assert verifier().identify(f"bearer {token}").identity == identity


WRONG: dict[str, dict[str, Any]] = {
    "expired": {"exp": int(NOW) - 1},
    "expires now": {"exp": int(NOW)},
    "no expiry": {"exp": GONE},
    "an expiry that is no number": {"exp": "later"},
    "not yet": {"nbf": int(NOW) + 60},
    "no beginning": {"nbf": GONE},
    "another issuer": {"iss": "somebody"},
    "no issuer": {"iss": GONE},
    "another audience": {"aud": "shop"},
    "no audience": {"aud": GONE},
    "no organization": {"org": GONE},
    "an empty organization": {"org": ""},
    "an organization that is no text": {"org": 7},
    "no actor": {"sub": GONE},
    "no scopes": {"scopes": GONE},
    "scopes as one text": {"scopes": "ledger:read"},
    "scopes of numbers": {"scopes": [1]},
    "a member without a program": {"member": "m-1"},
    "a program without a member": {"program": "gold"},
}


@pytest.mark.parametrize("case", WRONG)
def test_claims_that_are_not_right_are_refused(case: str) -> None:
    with pytest.raises(CredentialInvalid):
        verifier().identify(f"Bearer {signed(**WRONG[case])}")


def _encoded(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def _forgeries() -> dict[str, str]:
    good = signed()
    header, claims, signature = good.split(".")
    other = TokenIssuer(generate_keys()[0]).issue(WHO, now=NOW)
    hmac = jwt.encode(
        {"alg": "HS256", "kid": PRIVATE["kid"]},
        CLAIMS,
        OctKey.import_key(PRIVATE["x"] * 2),
        algorithms=["HS256"],
    )
    same_kid = dict(generate_keys()[0]) | {"kid": PRIVATE["kid"]}
    return {
        "another key": other,
        "another key of the same name": TokenIssuer(same_kid).issue(WHO, now=NOW),
        "no algorithm": f"{_encoded({'alg': 'none', 'kid': PRIVATE['kid']})}.{claims}.",
        "a shared secret made of the public key": hmac,
        "changed claims": f"{header}.{_encoded(CLAIMS | {'org': 'other'})}.{signature}",
        "a cut signature": good[:-4],
        "no signature": f"{header}.{claims}.",
        "two parts": f"{header}.{claims}",
        "four parts": f"{good}.{signature}",
        "no name of a key": f"{_encoded({'alg': 'Ed25519'})}.{claims}.{signature}",
        "a name that is a list": f"{_encoded({'alg': 'Ed25519', 'kid': []})}.{claims}.{signature}",
        "a header that is no object": f"{_encoded(7)}.{claims}.{signature}",
        "deep nesting": f"{'W' * 3000}.{claims}.{signature}",
        "spaces": f" {good} ",
        "no ASCII": "ä.ö.ü",
        "NUL": "\x00",
        "nothing": "",
        "too long": "a" * 10_000,
    }


@pytest.mark.parametrize("case", _forgeries())
def test_forgeries_and_garbage_are_refused_and_not_remembered(case: str) -> None:
    checked = verifier()

    with pytest.raises(CredentialInvalid):
        checked.identify(f"Bearer {_forgeries()[case]}")
    assert checked._verified == {}


def test_a_verified_token_is_remembered_until_it_expires() -> None:
    clock = [NOW]
    checked = TokenVerifier(JWKS, now=lambda: clock[0])
    header = f"Bearer {signed()}"

    first = checked.identify(header)
    assert checked.identify(header) is first
    clock[0] = NOW + 900
    with pytest.raises(CredentialInvalid):
        checked.identify(header)
    assert checked._verified == {}


def test_the_memory_of_tokens_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chassis.identity._CACHE_MAX", 3)
    checked = verifier()

    for number in range(10):
        checked.identify(f"Bearer {signed(sub=f'actor-{number}')}")
    assert len(checked._verified) == 3


def test_a_new_key_is_read_when_a_token_names_it_and_the_old_one_is_forgotten() -> None:
    private, rotated = generate_keys()
    reads: list[float] = []
    clock = [NOW]

    def reload() -> dict[str, Any]:
        reads.append(clock[0])
        return rotated

    checked = TokenVerifier(JWKS, now=lambda: clock[0], reload=reload)
    old = f"Bearer {signed()}"
    checked.identify(old)

    assert checked.identify(f"Bearer {TokenIssuer(private).issue(WHO, now=NOW)}").identity == WHO
    for _ in range(100):
        with pytest.raises(CredentialInvalid):
            checked.identify(old)
    assert len(reads) == 1


def test_naming_unknown_keys_does_not_empty_the_memory_of_tokens() -> None:
    checked = TokenVerifier(JWKS, now=lambda: NOW, reload=lambda: dict(JWKS))
    first = checked.identify(f"Bearer {signed()}")

    with pytest.raises(CredentialInvalid):
        checked.identify(f"Bearer {TokenIssuer(generate_keys()[0]).issue(WHO, now=NOW)}")
    assert checked.identify(f"Bearer {signed()}") is first


def test_keys_of_other_kinds_are_not_trusted() -> None:
    secret = {"kty": "oct", "kid": PRIVATE["kid"], "k": "c2VjcmV0"}

    with pytest.raises(CredentialInvalid):
        TokenVerifier({"keys": [secret]}, now=lambda: NOW).identify(f"Bearer {signed()}")


def test_the_public_keys_have_no_private_part() -> None:
    assert "d" in PRIVATE
    assert all("d" not in key for key in JWKS["keys"])


def test_a_scope_that_nobody_can_carry_is_an_error_of_the_table() -> None:
    with pytest.raises(ValueError, match="no scope"):
        Scope("ledger:everything")


def test_nobody_calls_outside_of_a_call() -> None:
    with pytest.raises(LookupError):
        current_identity()
