"""Verifying accounts: their entries are read from the first to the last, in one snapshot.

Nothing is settled before: what is stored must follow from the entries at every instant, and what
somebody spoilt must not be built upon.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from chassis.database import ACQUIRE_TIMEOUT_S
from kernel.refusals import MemberNotFound
from services.ledger.domain.verify import FINDINGS_MAX, Finding, Verifier
from services.ledger.domain.verify_places import PlaceVerifier
from services.ledger.operations.ledger_context import LedgerContext
from services.ledger.store import directory, verification
from services.ledger.store.accounts import Key
from services.ledger.store.checkpoints import be_patient
from services.ledger.store.verification import Line, StoredAccount, Unreadable


@dataclass(frozen=True, slots=True)
class Verified:
    """What disagrees, and how many entries were read."""

    findings: list[Finding]
    entries: int


async def verify_account(
    context: LedgerContext, organization: str, program: str, member: str
) -> Verified:
    """Recompute a member's own account. Refusals: PROGRAM_NOT_FOUND, MEMBER_NOT_FOUND."""
    name = await context.name(organization, program, member)
    async with context.reads.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
        key = (await directory.find(connection, [name])).keys.get(name)
    if key is None:
        raise MemberNotFound(member)
    state = await context.environment.cache.get(organization, program)
    policy = await context.environment.policy(state.key, state.revision)
    verified = (await verify_keys(context, [key], policy.zone)).get(key)
    if verified is None:
        raise MemberNotFound(member)
    return verified


async def verify_keys(
    context: LedgerContext, keys: Sequence[Key], zone: ZoneInfo
) -> dict[Key, Verified]:
    """Recompute accounts of one program from their entries; those that are not there are left out.

    An account with a long history is read a part at a time; hand in few that have one.
    """
    async with (
        context.reads.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection,
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        await be_patient(connection)
        stored, unreadable = await verification.read_stored(connection, keys)
        works = {key: _Work(key, each, zone) for key, each in stored.items()}
        async for key, line in verification.read_lines(connection, list(stored)):
            works[key].read(line)
    verified = {key: Verified([_spoilt(each)], 0) for key, each in unreadable.items()}
    return verified | {
        # Whoever was never enrolled has nothing to verify.
        key: Verified(work.finish(), work.entries.entries)
        for key, work in works.items()
        if work.entries.entries or work.stored.account.sequence
    }


class _Work:
    """One account that is being verified."""

    def __init__(self, key: Key, stored: StoredAccount, zone: ZoneInfo) -> None:
        self.stored = stored
        self.entries = Verifier(*key, zone)
        self._places = PlaceVerifier(key, zone)
        self._spoilt: list[Finding] = []

    def read(self, line: Line | Unreadable) -> None:
        """Take in the next line of its history."""
        if isinstance(line, Unreadable):
            self._spoilt.append(_spoilt(line))
            return
        try:
            self.entries.read(line.entry, line.posting)
            if line.posting is not None and line.place is not None:
                self._places.read(line.entry, line.posting, line.place)
        except Exception as fault:  # noqa: BLE001 - what a spoilt row breaks is a finding
            problem = f"{type(fault).__name__}: {fault}"
            self._spoilt.append(_spoilt(Unreadable(f"entry {line.entry.sequence}", problem)))

    def finish(self) -> list[Finding]:
        """What disagrees: rows that cannot be read, then points, then everything else."""
        stored = self.stored
        findings = [*self._spoilt, *(_spoilt(each) for each in stored.unreadable)]
        findings += self.entries.finish(stored.account, stored.lots, stored.counters)
        findings += self._places.finish(
            stored.account, stored.lots, stored.around, self.entries.rebuilt
        )
        return findings[:FINDINGS_MAX]


def _spoilt(each: Unreadable) -> Finding:
    return Finding(each.row, "row", "a row that can be read", each.problem)
