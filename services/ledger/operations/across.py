"""Redeeming across programs, and giving such a redemption back to all of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from chassis.database import ACQUIRE_TIMEOUT_S, Connection
from kernel.refusals import FieldViolation, InvalidField
from services.ledger.domain.account import Posting
from services.ledger.domain.across import Part, Source, redeem_across, reverse_across
from services.ledger.domain.commands import Command, RedeemAcross, Reverse
from services.ledger.domain.fold import Fold
from services.ledger.domain.permissions import Addressed
from services.ledger.operations.ledger_context import LedgerContext
from services.ledger.operations.needs import load_rare
from services.ledger.operations.outcomes import Item
from services.ledger.operations.plans import Parties, Party, Plan
from services.ledger.operations.post import Written, apply
from services.ledger.store import accounts as account_rows
from services.ledger.store import links
from services.ledger.store.accounts import Key
from services.ledger.store.directory import Name


@dataclass
class AcrossPlan(Plan):
    """The member's accounts in several programs, by name."""

    programs: Mapping[Name, str]
    program: str

    async def load(self, connection: Connection, parties: Parties) -> None:
        """Load the lots of the other programs' accounts."""
        keys = [party.fold.account.key for name in self.programs if (party := parties.find(name))]
        if keys:
            await account_rows.load_open_lots(connection, parties.loaded, keys)

    def decide(
        self, command: Command, party: Party, parties: Parties
    ) -> list[tuple[Fold, Posting]]:
        """Settle all, and redeem. Those of `redeem_across`, INVALID_FIELD."""
        operation = command.operations[0]
        assert isinstance(operation, RedeemAcross)
        first = Source(self.program, party.fold, party.addressed)
        clock, scale = parties.loaded[party.fold.account.key].clock, _scale(party)
        others: list[Source] = []
        for name, program in self.programs.items():
            other = parties.require(name) if operation.programs else parties.find(name)
            if other is None:
                continue
            same_clock = parties.loaded[other.fold.account.key].clock == clock
            if same_clock and _scale(other) == scale:
                others.append(Source(program, other.fold, other.addressed))
            elif operation.programs:
                other_than = "have points of other scales" if same_clock else "live by other clocks"
                raise InvalidField(FieldViolation("programs", other_than))
        for source in (first, *others):
            parties.settle(source.fold)
        return redeem_across(first, others, command, operation)


def _scale(party: Party) -> int:
    """What a point of the program's default currency is a decimal fraction of."""
    return party.fold.policy.currency("").scale


async def redeem_across_programs(
    context: LedgerContext, command: Command, *, validate_only: bool, deadline: float | None
) -> tuple[Written, dict[int, str]]:
    """Spend points of several programs; also the ids of the programs in question by their keys.

    Refusals: PROGRAM_NOT_FOUND (of any named), MEMBER_NOT_FOUND (in any named), `redeem_across`.
    """
    operation = command.operations[0]
    assert isinstance(operation, RedeemAcross)
    organization = command.organization
    name = await context.name(organization, command.program, command.member)
    for program in operation.programs:
        await context.environment.cache.identity(organization, program)
    async with context.reads.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
        ids = await links.programs_of(connection, name)
    ids[name.program] = command.program
    if operation.programs:
        others = {
            await context.name(organization, program, command.member): program
            for program in operation.programs
            if program != command.program
        }
    else:
        others = {
            name._replace(program=key): program
            for key, program in sorted(ids.items())
            if key != name.program
        }
    plan = AcrossPlan(others, command.program)
    item = Item(command, name, view=True, plan=plan, others=tuple(others))
    written = await apply(context, item, validate_only=validate_only, deadline=deadline)
    return written, ids


Other = tuple[Reverse, Key | None, str, str]
"""What is reversed, by whom if not by the account's own member, and whose account it is."""


@dataclass
class ReversePlan(Plan):
    """The postings of one redemption across programs, besides the one that was named."""

    others: tuple[Other, ...]
    _parts: list[tuple[Key, Reverse, Addressed | None]] = field(default_factory=list)

    def keys(self) -> tuple[Key, ...]:
        """Where the other postings are, and whose doing they were."""
        of = [each[1] for each in self.others if each[1] is not None]
        return (*of, *(each[0].account for each in self.others))

    async def load(self, connection: Connection, parties: Parties) -> None:
        """Load what giving back needs."""
        self._parts = []
        for operation, of, member, whose in self.others:
            party = parties.land(operation.account, None, stay=True)
            addressed = party.addressed if of is None else Addressed(of, member)
            if not party.fold.account.member:
                party.fold.account.member = whose
            self._parts.append((party.fold.account.key, operation, addressed))
        wanted = [(key, operation) for key, operation, _ in self._parts]
        await load_rare(connection, parties.folds, parties.loaded, (), wanted)

    def decide(
        self, command: Command, party: Party, parties: Parties
    ) -> list[tuple[Fold, Posting]]:
        """Settle all, and give back. Those of `reverse_across`."""
        operation = command.operations[0]
        assert isinstance(operation, Reverse)
        parts = [Part(party.fold, operation, party.addressed)]
        for key, other, addressed in self._parts:
            parts.append(Part(parties.folds[key], other, addressed))
        for part in parts:
            parties.settle(part.fold)
        return reverse_across(parts, command)


async def program_id(context: LedgerContext, key: int) -> str:
    """The id of a program by its key."""
    async with context.reads.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
        return await links.program_id(connection, key)
