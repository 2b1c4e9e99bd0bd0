"""A random walk through merges, groups and redemptions across programs: what always holds.

No model says here what each answer should be; but points neither appear nor vanish, every account
verifies after every step, and every request asked again is answered as before.
"""

import random
import uuid
from collections import Counter
from typing import Any

import pytest

from loyalty.ledger.v1 import account_pb2, group_pb2, ledger_pb2, program_pb2, resources_pb2
from tests.properties.agreement import numbers
from tests.properties.driver import Ledger
from tests.properties.effort import LONG, SEED, TIMEOUT_SECONDS
from tests.properties.model_shapes import Refused

PEOPLE = tuple(f"p{number}" for number in range(7))
GROUPS = ("family", "fleet")
STEPS = 6_000 if LONG else 220
# What may be refused on such a walk; a fault, or a reason that nobody expects here, ends it.
EXPECTED = {
    "INSUFFICIENT_POINTS", "IN_DEBT", "HOLD_CLOSED", "HOLD_NOT_FOUND", "HOLD_OPEN",
    "REVERSAL_EXCEEDS", "POSTING_NOT_FOUND", "NOT_REVERSIBLE", "NOTHING_PENDING",
    "MEMBER_IN_GROUP", "MEMBER_NOT_IN_GROUP", "MEMBER_MERGED", "PERMISSION_MISSING",
    "MEMBER_FROZEN", "INVALID_FIELD", "GROUP_NOT_FOUND", "MEMBER_NOT_FOUND",
}  # fmt: skip


class Walk:
    """Two programs of an organization, people, two groups, and dice."""

    def __init__(self, ledger: Ledger, seed: int) -> None:
        self.ledger, self.dice = ledger, random.Random(seed)
        self.programs = [f"w{uuid.uuid4().hex}" for _ in range(2)]
        self.asked: list[tuple[Any, Any, str]] = []
        self.holds: list[tuple[str, str]] = []
        self.postings: list[tuple[str, str]] = []
        self.done: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.number = 0
        self.story: list[str] = []
        for program in self.programs:
            self._create(program)

    def _create(self, program: str) -> None:
        request = program_pb2.CreateProgramRequest(program=program, sandbox=True)
        settings = request.settings
        settings.redemption.reversal = settings.transfer.enabled = True
        settings.points.pending_conversion = True
        settings.groups.enabled = settings.fleets.enabled = True
        policies, strategies = program_pb2.ReturnsSettings, program_pb2.RedemptionSettings
        settings.returns.policy = self.dice.choice(
            (policies.WITHIN_BALANCE, policies.OWN_LOTS_ONLY, policies.ALLOW_DEBT)
        )
        settings.redemption.across_programs = self.dice.choice(
            (strategies.FIRST_TO_EXPIRE, strategies.PROPORTIONAL)
        )
        settings.points.expiry.add(strategy="months", kind="FIXED", months=2)
        settings.points.expiry.add(strategy="idle", kind="INACTIVITY", months=1)
        ledger = self.ledger
        ledger.call(ledger.programs.CreateProgram, request)
        for person in PEOPLE:
            ledger.call(
                ledger.accounts.EnrolMember,
                account_pb2.EnrolMemberRequest(program=program, member=person, request_id="enrol"),
            )
        kinds = resources_pb2.Account.GROUP, resources_pb2.Account.FLEET
        for group, kind in zip(GROUPS, kinds, strict=True):
            made = group_pb2.CreateGroupRequest(
                program=program, group=group, request_id="made", kind=kind
            )
            permissions = [group_pb2.GroupRole.REDEEM, group_pb2.GroupRole.TRANSFER]
            made.rules.roles.add(role="adult", permissions=permissions)
            made.rules.roles.add(role="child")
            ledger.call(ledger.accounts.CreateGroup, made)

    def step(self) -> None:
        """Does one thing, or hears why not."""
        self.number += 1
        if self.asked and self.dice.random() < 0.08:
            self._ask_again()
            return
        method, request = self._request()
        try:
            answer = self.ledger.call(method, request)
        except Refused as refused:
            if refused.reason not in EXPECTED:
                raise
            self.refused[refused.reason] += 1
            self.story.append(f"{_line(request)}: {refused.reason}")
            return
        self.story.append(_line(request))
        name = type(request).__name__.removesuffix("Request")
        self.done[name] += 1
        if name == "AdvanceClock":
            return
        assert not answer.replayed
        self.asked.append((method, request, answer.posting.posting))
        if name == "CreateHold":
            self.holds.append((request.program, answer.posting.posting))
        if name in {"Earn", "Redeem", "CaptureHold", "RedeemAcrossPrograms"}:
            self.postings.append((request.program, answer.posting.posting))

    def _ask_again(self) -> None:
        method, request, posting = self.dice.choice(self.asked)
        again = self.ledger.call(method, request)
        assert again.replayed, request
        assert again.posting.posting == posting, request

    def _request(self) -> tuple[Any, Any]:
        dice = self.dice
        program, member = dice.choice(self.programs), dice.choice(PEOPLE)
        own: dict[str, Any] = {"program": program, "member": member}
        amount = dice.randrange(1, 60)
        other = dice.choice([person for person in (*PEOPLE, *GROUPS) if person != member])
        roll = dice.random()
        if roll < 0.30:
            return self._ask("Earn", **own, points=amount, expiry=dice.choice(("months", "idle")))
        if roll < 0.40:
            return self._ask("Redeem", **own, points=amount)
        if roll < 0.47:
            return self._ask("CreateHold", **own, points=amount)
        if roll < 0.55 and self.holds:
            program, hold = dice.choice(self.holds[-8:])
            name = dice.choice(("CaptureHold", "ReleaseHold"))
            return self._ask(name, program=program, hold=hold)
        if roll < 0.66 and self.postings:
            program, posting = dice.choice(self.postings[-40:])
            part = dice.choice((0, 0, 1, 7))
            return self._ask("ReversePosting", program=program, posting=posting, points=part)
        if roll < 0.73:
            return self._ask("TransferPoints", **own, recipient=other, points=amount)
        if roll < 0.79:
            return self._ask("RedeemAcrossPrograms", **own, points=amount)
        group, rule = dice.choice(GROUPS), dice.choice((0, 1, 2))
        if roll < 0.87:
            role = dice.choice(("adult", "adult", "child"))
            return self._ask("AddGroupMember", **own, group=group, on_join=rule, role=role)
        if roll < 0.93:
            return self._ask("RemoveGroupMember", **own, group=group, on_leave=rule)
        if roll < 0.96:
            return self._ask("MergeMembers", **own, into=other)
        return self._later(program)

    def _ask(self, name: str, **fields: Any) -> tuple[Any, Any]:
        """The method of that name and a request of it, under a fresh id."""
        of_points = hasattr(ledger_pb2, f"{name}Request")
        module, service = (
            (ledger_pb2, self.ledger.ledger) if of_points else (group_pb2, self.ledger.accounts)
        )
        request = getattr(module, f"{name}Request")(request_id=f"s{self.number}", **fields)
        return getattr(service, name), request

    def _later(self, program: str) -> tuple[Any, Any]:
        programs = self.ledger.programs
        found = self.ledger.call(
            programs.GetProgram, program_pb2.GetProgramRequest(program=program)
        )
        request = program_pb2.AdvanceClockRequest(program=program)
        ahead = self.dice.choice((3_601, 86_400, 9 * 86_400))
        request.time.FromSeconds(found.now.seconds + ahead)
        return programs.AdvanceClock, request

    def told(self) -> str:
        """What was done, the latest last."""
        return "\n".join(self.story[-150:])

    def check(self) -> None:
        """Nothing appeared and nothing vanished, in either program."""
        for program in self.programs:
            came = went = 0
            for member in (*PEOPLE, *GROUPS):
                account = self.ledger.call(
                    self.ledger.ledger.GetAccount,
                    ledger_pb2.GetAccountRequest(program=program, member=member, own=True),
                )
                for balance in account.balances:
                    assert_identity(balance)
                    came += balance.totals.transferred_in
                    went += balance.totals.transferred_out
                verify = ledger_pb2.VerifyAccountRequest(program=program, member=member)
                verified = self.ledger.call(self.ledger.ledger.VerifyAccount, verify)
                assert verified.ok, f"{member} of {program}: {verified.findings}\n{self.told()}"
            assert came == went, "points that moved appeared or vanished"


def _line(request: Any) -> str:
    fields = ", ".join(f"{field.name}={value}" for field, value in request.ListFields())
    return f"{type(request).__name__}({fields})".replace("\n", " ")


def assert_identity(balance: resources_pb2.Balance) -> None:
    """The four numbers are what the running totals come to."""
    available, pending, held, debt = numbers(balance)
    t = balance.totals
    gained = t.earned - t.earning_reversed + t.redemption_restored + t.adjusted_in
    gained += t.transferred_in
    spent = t.redeemed + t.expired + t.adjusted_out + t.transferred_out
    assert available + pending + held - debt == gained - spent, balance
    assert min(available, pending, held, debt) >= 0, balance
    assert not (available and debt), balance


@pytest.mark.slow
@pytest.mark.timeout(TIMEOUT_SECONDS)
def test_members_who_belong_together_lose_and_gain_nothing(ledger: Ledger) -> None:
    """Merged for ever, in and out of a family and a fleet, redeeming in two programs at once."""
    print(f"LOYALTY_TEST_SEED={SEED}")
    walks = [Walk(ledger, SEED + number) for number in range(8 if LONG else 1)]
    for walk in walks:
        for number in range(STEPS // len(walks)):
            walk.step()
            if number % 20 == 0:
                walk.check()
        walk.check()
    done = sum((walk.done for walk in walks), Counter[str]())
    refused = sum((walk.refused for walk in walks), Counter[str]())
    print(f"{sum(walk.number for walk in walks)} steps: {dict(done)}, refused {dict(refused)}")
    kinds = {"MergeMembers", "AddGroupMember", "RemoveGroupMember", "RedeemAcrossPrograms"}
    assert kinds <= set(done) or not LONG
