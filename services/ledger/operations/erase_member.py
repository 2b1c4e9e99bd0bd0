"""Erasing the person behind a member: the directory forgets, the entries stay."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from chassis.database import ACQUIRE_TIMEOUT_S
from kernel.ids import bucket_of
from kernel.refusals import MemberNotFound
from services.ledger.domain.account import GROUPED, AccountKind
from services.ledger.domain.commands import Command, WriteOff
from services.ledger.domain.refusals import InsufficientPoints, MemberInGroup, RequestIdReused
from services.ledger.operations.context import Caller, ProgramContext
from services.ledger.operations.ledger_context import LedgerContext
from services.ledger.operations.members import get_member
from services.ledger.operations.post import Written, post
from services.ledger.store import erasures, history, links, member_writes
from services.ledger.store.erasures import Done, ErasedName
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
    """What was done: postings of the write-off by program, erased ids and identifiers.

    `replayed` where the request had done it before.
    """

    postings: list[tuple[str, Written]]
    members: int
    identifiers: int
    replayed: bool = False


async def erase_member(
    programs: ProgramContext, ledger: LedgerContext, caller: Caller, erasure: Erasure
) -> Erased:
    """Write off what is left, where that is asked for, and make the person unknown.

    A call that was cut short is completed by the same call: the postings are known by their request
    id, and so is what was erased, as long as it is remembered.
    Refusals: PROGRAM_NOT_FOUND, REQUEST_ID_REUSED, MEMBER_NOT_FOUND, MEMBER_IN_GROUP, HOLD_OPEN.
    """
    before = await _recorded(programs, ledger, caller, erasure)
    if before is not None:
        return before
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
        else:
            places = [(each.posting.bucket, each.posting.sequence) for _, each in postings]
            done = Done(_digest(erasure), len(names), identifiers, places)
            request = (erasure.member, erasure.request_id)
            await erasures.publish(connection, names, request, done, programs.clock())
    ledger.bell.ring()
    return Erased(postings, len(names), identifiers)


async def forget_erasures(programs: ProgramContext, kept: timedelta) -> int:
    """Forget who was erased so long ago; how many ids. Whoever follows the stream knows by then."""
    async with programs.engine.begin() as connection:
        return await erasures.forget(connection, programs.clock() - kept)


async def _recorded(
    programs: ProgramContext, ledger: LedgerContext, caller: Caller, erasure: Erasure
) -> Erased | None:
    """What the request did before, if it did. REQUEST_ID_REUSED where it was another one."""
    await programs.cache.identity(caller.organization, erasure.program)
    organization = caller.organization
    bucket = bucket_of(organization, erasure.member, programs.buckets)
    name = ErasedName(bucket, organization, erasure.member)
    async with programs.reads.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
        done = await erasures.recorded(connection, name, erasure.request_id)
        if done is None:
            return None
        if done.digest != _digest(erasure):
            raise RequestIdReused(erasure.request_id, "")
        stored = await history.read_postings(connection, done.postings)
        ids = {
            each.program: await links.program_id(connection, each.program)
            for each in stored.values()
        }
    postings = []
    for place in done.postings:
        found = stored[place]
        policy = await ledger.environment.policy(found.program, found.posting.revision)
        postings.append((ids[found.program], Written(found.posting, True, policy, None)))
    return Erased(postings, done.members, done.identifiers, replayed=True)


def _digest(erasure: Erasure) -> bytes:
    content = f"erase\0{erasure.write_off:d}\0{erasure.reason}".encode()
    return hashlib.sha256(content).digest()[:16]


def _check(erasure: Erasure, row: MemberRow, accounts: Sequence[PersonAccount]) -> None:
    if not accounts or any(account.kind != AccountKind.PERSON for account in accounts):
        raise MemberNotFound(erasure.member)
    for account in accounts:
        if account.link in GROUPED:
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
