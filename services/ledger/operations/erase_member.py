"""Erasing the person behind a member: the directory forgets, the entries stay."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from kernel.refusals import MemberNotFound
from services.ledger.domain.account import AccountKind, Link
from services.ledger.domain.commands import Command, WriteOff
from services.ledger.domain.refusals import InsufficientPoints, MemberInGroup
from services.ledger.operations.context import Caller, ProgramContext
from services.ledger.operations.ledger_context import LedgerContext
from services.ledger.operations.members import get_member
from services.ledger.operations.post import Written, post
from services.ledger.store import member_writes
from services.ledger.store.member_writes import PersonAccount
from services.ledger.store.members import MemberRow


@dataclass(frozen=True, slots=True)
class Erasure:
    """What is asked for. Without `write_off` the points stay in the books as nobody's."""

    program: str
    member: str
    request_id: str
    write_off: bool
    reason: str
    validate_only: bool
    deadline: float | None


@dataclass(frozen=True, slots=True)
class Erased:
    """What was done: postings of the write-off by program, erased ids and identifiers."""

    postings: list[tuple[str, Written]]
    members: int
    identifiers: int


async def erase_member(
    programs: ProgramContext, ledger: LedgerContext, caller: Caller, erasure: Erasure
) -> Erased:
    """Write off what is left, where that is asked for, and make the person unknown.

    A call that was cut short is completed by the same call: the postings are known by their request
    id. Refusals: PROGRAM_NOT_FOUND, MEMBER_NOT_FOUND, MEMBER_IN_GROUP, HOLD_OPEN.
    """
    row = await get_member(programs, caller, erasure.program, erasure.member)
    async with programs.engine.begin() as connection:
        accounts = await member_writes.lock_person(connection, row.bucket, row.person)
        _check(erasure, row, accounts)
    postings = []
    if erasure.write_off:
        own = [account for account in accounts if account.person == row.person]
        for account in own:
            written = await _write_off(ledger, caller, erasure, row.member, account)
            if written is not None:
                postings.append((account.program_id, written))
    async with programs.engine.connect() as connection, connection.begin() as transaction:
        accounts = await member_writes.lock_person(connection, row.bucket, row.person)
        _check(erasure, row, accounts)
        names, identifiers = await member_writes.erase_person(connection, row.bucket, row.person)
        if erasure.validate_only:
            await transaction.rollback()
    return Erased(postings, len(names), identifiers)


def _check(erasure: Erasure, row: MemberRow, accounts: Sequence[PersonAccount]) -> None:
    if not accounts or any(account.kind != AccountKind.PERSON for account in accounts):
        raise MemberNotFound(erasure.member)
    for account in accounts:
        if account.link == Link.POOLED:
            raise MemberInGroup(row.member, account.pool or "")


async def _write_off(
    ledger: LedgerContext, caller: Caller, erasure: Erasure, member: str, account: PersonAccount
) -> Written | None:
    """The posting that debits what an account has left; None where that is nothing."""
    content = f"erase\0{erasure.reason}".encode()
    command = Command(
        organization=caller.organization,
        program=account.program_id,
        member=member,
        request_id=erasure.request_id,
        digest=hashlib.sha256(content).digest()[:16],
        operations=(WriteOff(erasure.reason),),
        actor=caller.actor,
    )
    try:
        return await post(
            ledger, command, validate_only=erasure.validate_only, deadline=erasure.deadline
        )
    except InsufficientPoints:
        return None
