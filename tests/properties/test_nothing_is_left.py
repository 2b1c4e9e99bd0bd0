"""Whoever earns, spends, joins, leaves and is merged: taken back in the end, nothing is left.

All earnings are returned and all redemptions given back, in any order. No point may be anywhere
then, unless somebody else owes it: wherever points went meanwhile, and whoever shared them.
"""

import random
import uuid
from typing import Any

import pytest

from loyalty.ledger.v1 import account_pb2, group_pb2, ledger_pb2, program_pb2, resources_pb2
from tests.properties.agreement import numbers
from tests.properties.driver import Ledger
from tests.properties.effort import LONG, SEED, TIMEOUT_SECONDS
from tests.properties.model_shapes import Refused

WALKS = 120 if LONG else 3
STEPS = 45
PEOPLE = ("ada", "bob", "cat", "dan")
GROUP = "family"
EXPECTED = {
    "HOLD_CLOSED", "HOLD_OPEN", "INSUFFICIENT_POINTS", "INVALID_FIELD", "IN_DEBT",
    "MEMBER_IN_GROUP", "MEMBER_MERGED", "MEMBER_NOT_IN_GROUP", "REVERSAL_EXCEEDS",
}  # fmt: skip
Rules = group_pb2.GroupRules
Returns = program_pb2.ReturnsSettings


class Walk:
    """A program without expiry, four people, a group, and dice."""

    def __init__(self, ledger: Ledger, seed: int) -> None:
        self.ledger, self.dice = ledger, random.Random(seed)
        self.program = f"z{uuid.uuid4().hex}"
        # Whoever is merged is so in all programs of the organization.
        self.people = [f"{person}-{self.program[:6]}" for person in PEOPLE]
        self.number = 0
        self.earned: list[str] = []
        self.spent: list[str] = []
        self.held: list[str] = []
        self.story: list[str] = []
        self.moves = 0
        request = program_pb2.CreateProgramRequest(program=self.program, sandbox=True)
        settings = request.settings
        settings.redemption.reversal = settings.groups.enabled = True
        # Points of one purchase that a group's account gave in the place of another one's stay in
        # the books as not recovered: only with lots of their own is nothing ever left in groups.
        self.shares = seed % 3 == 0
        settings.returns.policy = (
            Returns.OWN_LOTS_ONLY
            if self.shares
            else self.dice.choice((Returns.WITHIN_BALANCE, Returns.ALLOW_DEBT))
        )
        self.story.append(Returns.Policy.Name(settings.returns.policy))
        ledger.call(ledger.programs.CreateProgram, request)
        for person in self.people:
            enrol = account_pb2.EnrolMemberRequest(
                program=self.program, member=person, request_id="enrol"
            )
            ledger.call(ledger.accounts.EnrolMember, enrol)
        made = group_pb2.CreateGroupRequest(
            program=self.program, group=GROUP, request_id="made", kind=resources_pb2.Account.GROUP
        )
        made.rules.pooling = True
        made.rules.roles.add(role="adult", permissions=[group_pb2.GroupRole.REDEEM])
        ledger.call(ledger.accounts.CreateGroup, made)

    def step(self) -> None:
        """Does one thing, or hears why not."""
        dice, roll = self.dice, self.dice.random()
        member, points = dice.choice((*self.people, GROUP)), dice.randrange(1, 30)
        if roll < 0.25:
            self._note(self.earned, self.ask("Earn", member=member, points=points))
        elif roll < 0.45:
            answer = self.ask("Redeem", member=member, points=points, allow_partial=True)
            self._note(self.spent, answer)
        elif roll < 0.52:
            self._note(self.held, self.ask("CreateHold", member=member, points=points))
        elif roll < 0.58 and self.held:
            name = dice.choice(("CaptureHold", "ReleaseHold"))
            answer = self.ask(name, hold=dice.choice(self.held))
            self._note(self.spent if name == "CaptureHold" else [], answer)
        elif roll < 0.70 and self.earned:
            self._reverse(dice.choice(self.earned))
        elif roll < 0.77 and self.spent:
            self._reverse(dice.choice(self.spent))
        elif roll < 0.87 and self.shares:
            rule = dice.choice((Rules.BRING, Rules.BRING, Rules.LEAVE_BEHIND))
            self._moved(
                self.ask("AddGroupMember", member=member, group=GROUP, on_join=rule, role="adult")
            )
        elif roll < 0.95 and self.shares:
            leave = dice.choice((Rules.FORFEIT_TO_GROUP, Rules.TAKE_SHARE, Rules.TAKE_SHARE))
            self._moved(self.ask("RemoveGroupMember", member=member, group=GROUP, on_leave=leave))
        else:
            self._moved(self.ask("MergeMembers", member=member, into=dice.choice(self.people)))

    def _note(self, postings: list[str], answer: Any) -> None:
        if answer is not None:
            postings.append(answer.posting.posting)

    def _moved(self, answer: Any) -> None:
        self.moves += answer is not None

    def _reverse(self, posting: str) -> None:
        self.ask("ReversePosting", posting=posting, points=self.dice.choice((0, 0, 1, 7)))

    def ask(self, name: str, **fields: Any) -> Any:
        """What it is answered with; None where it is refused."""
        of_points = hasattr(ledger_pb2, f"{name}Request")
        module, service = (
            (ledger_pb2, self.ledger.ledger) if of_points else (group_pb2, self.ledger.accounts)
        )
        self.number += 1
        request = getattr(module, f"{name}Request")(
            program=self.program, request_id=f"r{self.number}", **fields
        )
        shown = {k: v[-4:] if k in {"posting", "hold"} else v for k, v in fields.items()}
        try:
            answer = self.ledger.call(getattr(service, name), request)
        except Refused as refused:
            if refused.reason not in EXPECTED:
                raise
            self.story.append(f"{name} {shown}: {refused.reason}")
            return None
        self.story.append(f"{name} {shown} -> {answer.posting.posting[-4:]}")
        return answer

    def end(self) -> None:
        """Gives everything back, in any order."""
        rest = [("ReleaseHold", {"hold": hold}) for hold in self.held]
        rest += [
            ("ReversePosting", {"posting": posting}) for posting in (*self.earned, *self.spent)
        ]
        self.dice.shuffle(rest)
        for name, fields in rest:
            self.ask(name, **fields)

    def left(self) -> dict[str, tuple[int, int, int, int]]:
        """What accounts have; each of them verifies."""
        found = {}
        for member in (*self.people, GROUP):
            verify = ledger_pb2.VerifyAccountRequest(program=self.program, member=member)
            verified = self.ledger.call(self.ledger.ledger.VerifyAccount, verify)
            assert verified.ok, f"{member}: {verified.findings}\n{self.told()}"
            request = ledger_pb2.GetAccountRequest(program=self.program, member=member, own=True)
            for balance in self.ledger.call(self.ledger.ledger.GetAccount, request).balances:
                found[member] = numbers(balance)
        return found

    def told(self) -> str:
        """What was done, the latest last."""
        return "\n".join(self.story)


def walked(ledger: Ledger, seed: int) -> Walk:
    """One walk from the beginning to the end."""
    walk = Walk(ledger, seed)
    for _ in range(STEPS):
        walk.step()
    walk.end()
    left = walk.left()
    assert sum(a + p + h - d for a, p, h, d in left.values()) == 0, f"{left}\n{walk.told()}"
    return walk


@pytest.mark.slow
@pytest.mark.timeout(TIMEOUT_SECONDS)
def test_when_everything_is_taken_back_nothing_is_left(ledger: Ledger) -> None:
    """Whoever was merged under every policy; whoever shared points where lots give their own."""
    print(f"LOYALTY_TEST_SEED={SEED}")
    moves = sum(walked(ledger, SEED + number).moves for number in range(WALKS))
    assert moves > WALKS
