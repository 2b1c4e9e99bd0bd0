"""Giving points to another member of the program."""

from dataclasses import dataclass

from services.ledger.domain.account import Posting
from services.ledger.domain.commands import Command, TransferPoints
from services.ledger.domain.fold import Fold
from services.ledger.domain.transfers import transfer
from services.ledger.operations.ledger_context import LedgerContext
from services.ledger.operations.outcomes import Item
from services.ledger.operations.plans import Parties, Party, Plan
from services.ledger.operations.post import Written, apply
from services.ledger.store.directory import Name


@dataclass(frozen=True)
class TransferPlan(Plan):
    """Both members' accounts."""

    recipient: Name

    def decide(
        self, command: Command, party: Party, parties: Parties
    ) -> list[tuple[Fold, Posting]]:
        """Settle both, and give. Refusals: MEMBER_NOT_FOUND, those of `transfer`."""
        operation = command.operations[0]
        assert isinstance(operation, TransferPoints)
        taker = parties.require(self.recipient)
        parties.settle(party.fold)
        parties.settle(taker.fold)
        return transfer(
            (party.fold, party.addressed), (taker.fold, taker.addressed), command, operation
        )


async def transfer_points(
    context: LedgerContext, command: Command, *, validate_only: bool, deadline: float | None
) -> Written:
    """Give points to another member; the recipient's side is the first of `sides`."""
    operation = command.operations[0]
    assert isinstance(operation, TransferPoints)
    name = await context.name(command.organization, command.program, command.member)
    other = await context.name(command.organization, command.program, operation.recipient)
    item = Item(command, name, view=True, plan=TransferPlan(other), others=(other,))
    return await apply(context, item, validate_only=validate_only, deadline=deadline)
