"""Issue a token with the scopes of a credential, or fewer."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from chassis.identity import MEMBER_SCOPE, Identity, TokenIssuer
from chassis.refusals import ScopeMissing
from kernel.refusals import FieldViolation, InvalidField

_DEFAULT_SECONDS = 900
# What a member's own token reads; whoever issues one must be able to read it.
_MEMBER_READS = ("ledger:read", "tiers:read", "audiences:read")


@dataclass(frozen=True, slots=True)
class Issued:
    """A token and when it expires, in whole seconds since 1970."""

    token: str
    expires: int


class IssueToken:
    """Issues tokens that hold no longer, and reach no further, than what they are made from."""

    def __init__(self, issuer: TokenIssuer) -> None:
        self._issuer = issuer

    def __call__(
        self,
        caller: Identity,
        caller_expires: float,
        *,
        lifetime_seconds: int,
        scopes: frozenset[str],
        member: str,
        program: str,
        now: float,
    ) -> Issued:
        """A token for `caller`, or for a member of one of its programs.

        Refuses with INVALID_FIELD where member and program do not come together, or a member's
        token is to carry other scopes than its own; with SCOPE_MISSING for a scope that the caller
        lacks.
        """
        identity = _wanted(caller, scopes, member, program)
        seconds = lifetime_seconds or _DEFAULT_SECONDS
        expires = int(min(now + seconds, caller_expires))
        begin = int(now)
        token = self._issuer.issue(identity, lifetime_seconds=expires - begin, now=begin)
        return Issued(token, expires)


def _wanted(caller: Identity, scopes: frozenset[str], member: str, program: str) -> Identity:
    if bool(member) != bool(program):
        missing = "member" if program else "program"
        raise InvalidField(FieldViolation(missing, "member and program come together"))
    if member:
        if scopes - {MEMBER_SCOPE}:
            raise InvalidField(
                FieldViolation("scopes", f"a member's token has the scope {MEMBER_SCOPE}")
            )
        _need(caller, _MEMBER_READS)
        own = frozenset({MEMBER_SCOPE})
        return replace(caller, scopes=own, member=member, program=program)
    _need(caller, sorted(scopes))
    return replace(caller, scopes=scopes or caller.scopes)


def _need(caller: Identity, scopes: Iterable[str]) -> None:
    for scope in scopes:
        if scope not in caller.scopes:
            raise ScopeMissing(scope)
