"""Members, imports and identifiers between messages and the domain."""

import hashlib
from collections.abc import Iterable
from datetime import datetime
from typing import Literal

from kernel.refusals import FieldViolation, InvalidField, Refusal
from loyalty.ledger.v1 import account_pb2, resources_pb2
from services.ledger.domain.commands import Command, Enrol, Import, Opening
from services.ledger.domain.identifiers import Hashing, Identifier
from services.ledger.operations.context import Caller
from services.ledger.operations.post import Written
from services.ledger.rpc import translate
from services.ledger.rpc.program_translate import timestamp_of
from services.ledger.store.members import MemberRow

OPENINGS_MAX = 5_000


def identifiers(
    hashing: Hashing, messages: Iterable[account_pb2.Identifier]
) -> tuple[Identifier, ...]:
    """Identifiers as they are stored; what was given in clear goes no further than here."""
    return tuple(hashing.identifier(each.kind, each.value) for each in messages)


def enrolment(request: account_pb2.EnrolMemberRequest, caller: Caller, hashing: Hashing) -> Command:
    """The command of an explicit enrolment."""
    claimed = identifiers(hashing, request.identifiers)
    canonical = account_pb2.EnrolMemberRequest(
        reference=request.reference,
        identifiers=_hashed(claimed),
        billing_day=request.billing_day,
    )
    effective = None
    if request.HasField("effective_time"):
        canonical.effective_time.CopyFrom(request.effective_time)
        effective = translate.instant(request.effective_time)
    content = b"enrol" + canonical.SerializeToString(deterministic=True)
    return Command(
        organization=caller.organization,
        program=request.program,
        member=request.member,
        request_id=request.request_id,
        digest=hashlib.sha256(content).digest()[:16],
        operations=(Enrol(claimed, request.billing_day),),
        effective_time=effective,
        reference=request.reference,
        actor=caller.actor,
    )


def imports(
    request: account_pb2.ImportMembersRequest, caller: Caller, hashing: Hashing
) -> list[Command]:
    """The commands of an import, one a row. Refuses with INVALID_FIELD too many balances."""
    if sum(len(row.balances) for row in request.rows) > OPENINGS_MAX:
        raise InvalidField(
            FieldViolation("rows", f"hold more than {OPENINGS_MAX} opening balances")
        )
    return [
        _import(request, row, row.number or place + 1, caller, hashing)
        for place, row in enumerate(request.rows)
    ]


def _import(
    request: account_pb2.ImportMembersRequest,
    row: account_pb2.MemberImport,
    number: int,
    caller: Caller,
    hashing: Hashing,
) -> Command:
    claimed = identifiers(hashing, row.identifiers)
    canonical = account_pb2.MemberImport()
    canonical.CopyFrom(row)
    for field in ("member", "identifiers", "number", "request_id"):
        canonical.ClearField(field)
    canonical.identifiers.extend(_hashed(claimed))
    content = b"import" + canonical.SerializeToString(deterministic=True)
    balances = tuple(
        Opening(
            points=each.points,
            currency=each.currency,
            awarded_time=_time(each, "awarded_time"),
            expire_time=_time(each, "expire_time"),
            expiry=each.expiry,
        )
        for each in row.balances
    )
    return Command(
        organization=caller.organization,
        program=request.program,
        member=row.member,
        request_id=row.request_id or f"import:{request.import_id}:{number}",
        digest=hashlib.sha256(content).digest()[:16],
        operations=(Import(balances, claimed, row.billing_day),),
        effective_time=_time(row, "enrol_time"),
        reference=request.import_id,
        actor=caller.actor,
    )


def import_results(
    program: str, results: Iterable[Written | Refusal]
) -> account_pb2.ImportMembersResponse:
    """What became of the rows of an import."""
    response = account_pb2.ImportMembersResponse()
    for result in results:
        translate.fill_result(response.results.add(), result, program)
    return response


def member(program: str, row: MemberRow) -> account_pb2.Member:
    """A member as it is answered."""
    return account_pb2.Member(
        program=program,
        member=row.member,
        state=resources_pb2.Account.State.ValueType(row.state),
        enrol_time=timestamp_of(row.enrol_time),
        billing_day=row.billing_day or 0,
        identifier_kinds=row.kinds,
        etag=row.etag,
    )


def _time(
    message: account_pb2.MemberImport | account_pb2.OpeningBalance,
    field: Literal["enrol_time", "awarded_time", "expire_time"],
) -> datetime | None:
    return translate.instant(getattr(message, field)) if message.HasField(field) else None  # type: ignore[arg-type]  # each has those that are asked of it


def _hashed(claimed: Iterable[Identifier]) -> list[account_pb2.Identifier]:
    """Identifiers for the digest of a request, which is kept for ever: hashed, in order."""
    pairs = sorted({(each.kind, each.value.hex()) for each in claimed})
    return [account_pb2.Identifier(kind=kind, value=value) for kind, value in pairs]
