"""Where members stand, as a request needs it and as far as tiers answer in time."""

from collections.abc import Iterable, Sequence

from chassis.call import remaining_seconds
from kernel.refusals import Refusal
from services.rules.domain.evaluate import TierRate
from services.rules.operations.context import RulesContext, peer_seconds
from services.rules.peers.tiers import Standing


class Standings:
    """Asks tiers on behalf of one request about members of one program."""

    def __init__(self, context: RulesContext, organization: str, program: str) -> None:
        self._context = context
        self._organization = organization
        self._program = program
        self._found: dict[str, Standing] = {}

    async def rates(self, members: Iterable[str]) -> dict[str, TierRate]:
        """The rates that purchases of members earn at. Refusals: what tiers refuse.

        A member that was posted to and not evaluated since is evaluated first; one that is not
        enrolled yet enters at the base of the ladder.
        """
        context = self._context
        wanted = list(dict.fromkeys(members))
        metadata = context.credentials.service(self._organization)
        unsure = [member for member in wanted if self._name(member) in context.unsure]
        asked = [
            member for member in wanted if member not in self._found and member not in set(unsure)
        ]
        tiers = context.tiers
        if unsure:
            found = await tiers.evaluate(self._program, unsure, peer_seconds(), metadata)
            self._learn(unsure, found)
        if asked:
            self._found |= await tiers.standings(self._program, asked, peer_seconds(), metadata)
        rates = {member: self._found[member].tier for member in wanted if member in self._found}
        if len(rates) < len(wanted):
            base = await tiers.base(self._program, peer_seconds(), metadata)
            rates = {member: rates.get(member, base) for member in wanted}
        return rates

    async def evaluate(self, members: Sequence[str]) -> dict[str, Standing]:
        """Evaluate members that were posted to; empty where tiers do not answer in time."""
        context = self._context
        seconds = min(context.tiers_seconds, remaining_seconds())
        metadata = context.credentials.service(self._organization)
        try:
            found = await context.tiers.evaluate(self._program, members, seconds, metadata)
        except Refusal:
            for member in members:
                self._found.pop(member, None)
                context.doubt(self._name(member))
            return {}
        self._learn(members, found)
        return found

    async def known(self, members: Iterable[str]) -> dict[str, Standing]:
        """Where members stand that nothing was posted to; empty where tiers do not answer."""
        wanted = list(dict.fromkeys(members))
        missing = [member for member in wanted if member not in self._found]
        if missing:
            context = self._context
            seconds = min(context.tiers_seconds, remaining_seconds())
            metadata = context.credentials.service(self._organization)
            try:
                self._found |= await context.tiers.standings(
                    self._program, missing, seconds, metadata
                )
            except Refusal:
                return {}
        return {member: self._found[member] for member in wanted if member in self._found}

    def _learn(self, members: Sequence[str], found: dict[str, Standing]) -> None:
        self._found |= found
        for member in members:
            self._context.unsure.pop(self._name(member), None)

    def _name(self, member: str) -> tuple[str, str, str]:
        return (self._organization, self._program, member)
