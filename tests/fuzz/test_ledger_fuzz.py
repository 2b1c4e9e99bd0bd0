"""Every method of the ledger with missing, oversized, hostile and random fields.

Each call is answered or refused with a reason, never INTERNAL or UNKNOWN, and the process lives.
"""

import random
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import grpc
import pytest
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.timestamp_pb2 import Timestamp

from loyalty.errors.v1 import errors_pb2
from loyalty.ledger.v1 import group_pb2, ledger_pb2, program_pb2, resources_pb2
from testkit.postgres import TestPostgres
from tests.fuzz.ledger_requests import COLD, OTHERS, VALID, fresh, methods, path
from tests.fuzz.mutants import garbage, mutants
from tests.properties.driver import Ledger, status_of
from tests.properties.effort import LONG, SEED
from tests.properties.ledger_process import Cluster, LedgerProcess
from tests.properties.messages import refused

REASONS = set(errors_pb2.Reason.keys()) - {"REASON_UNSPECIFIED", "FAULT", "METHOD_NOT_SERVED"}
# What a valid request of these does to a program would be in the way of others.
CHANGE_PROGRAMS = {
    "AdvanceClock",
    "BatchUpdateProgramSettings",
    "CatchUp",
    "RestoreSettingsRevision",
    "UpdateProgramSettings",
}
# Valid requests that ask for something that is not there.
NOT_THERE = {
    "ActivatePending": "POSTING_NOT_FOUND",
    "CaptureHold": "HOLD_NOT_FOUND",
    "EraseMember": "MEMBER_NOT_FOUND",
    "GetCheckpoint": "CHECKPOINT_NOT_FOUND",
    "GetHold": "HOLD_NOT_FOUND",
    "GetPosting": "POSTING_NOT_FOUND",
    "LookupMember": "MEMBER_NOT_FOUND",
    "ReleaseHold": "HOLD_NOT_FOUND",
    "ReversePosting": "POSTING_NOT_FOUND",
    "UnfreezeMember": "MEMBER_NOT_FROZEN",
}
METHODS = {path(method): method for method in methods()}
MUTANTS_MAX = 100_000 if LONG else 250
PATIENCE_SECONDS = 10


@dataclass
class Target:
    """A running ledger with a sandbox program and a member in it."""

    process: LedgerProcess
    ledger: Ledger
    program: str = "sandbox"
    member: str = "ada"
    outcomes: Counter[str] = field(default_factory=Counter)

    def call(self, method: MethodDescriptor, request: bytes) -> str:
        """Sends bytes; answers `OK`, a reason, or what went wrong after an exclamation mark."""
        kind = "unary_stream" if method.server_streaming else "unary_unary"
        stub = getattr(self.ledger.channel, kind)(
            path(method), response_deserializer=GetMessageClass(method.output_type).FromString
        )
        seconds = 0.3 if method.server_streaming else PATIENCE_SECONDS
        try:
            answer = stub(request, metadata=self.ledger.metadata, timeout=seconds)
            if method.server_streaming:
                next(answer)
                answer.cancel()
        except StopIteration:
            outcome = "! the stream ended"
        except grpc.RpcError as error:
            outcome = self._verdict(method, error)
        else:
            outcome = "OK"
        self.outcomes[outcome] += 1
        return outcome

    def _verdict(self, method: MethodDescriptor, error: grpc.RpcError) -> str:
        code = error.code()
        if method.server_streaming and code == grpc.StatusCode.DEADLINE_EXCEEDED:
            return "OK"
        status = status_of(error)
        if status is None:
            return f"! {code} without a reason: {error.details()}"
        refusal = refused(status)
        if code in {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN}:
            return f"! {code} {refusal.reason} {refusal.metadata}"
        if refusal.reason not in REASONS:
            return f"! {refusal.reason}"
        if refusal.reason == "INVALID_FIELD" and not refusal.metadata.get("field"):
            return "! INVALID_FIELD without a field"
        return refusal.reason


@pytest.fixture(scope="module")
def target(postgres: TestPostgres) -> Iterator[Target]:
    """A ledger of its own, because what is sent may hurt it."""
    print(f"LOYALTY_TEST_SEED={SEED}")
    database = postgres.fresh("ledger")
    cluster = Cluster(database)
    try:
        process = cluster.start()
        ledger = process.connect()
        ledger.register("acme")
        target = Target(process, ledger)
        furnish(target, target.program, Timestamp(seconds=1_700_000_000))
        yield target
        ledger.close()
    finally:
        cluster.stop()
        postgres.drop(database.name)


def furnish(target: Target, program: str, start: Timestamp) -> None:
    """A sandbox program with counters and a member who has points."""
    request = program_pb2.CreateProgramRequest(program=program, sandbox=True, start_time=start)
    request.settings.program.auto_enrol = True
    request.settings.program.time_zone = "Pacific/Apia"
    request.settings.currencies.alternate = True
    request.settings.points.pending_conversion = True
    request.settings.groups.enabled = True
    request.settings.transfer.enabled = True
    request.settings.redemption.across_programs = program_pb2.RedemptionSettings.FIRST_TO_EXPIRE
    ledger = target.ledger
    ledger.call(ledger.programs.CreateProgram, request)
    for counter in ("visits", "unmoved"):
        made = program_pb2.CreateCounterRequest(program=program, counter_id=counter)
        ledger.call(ledger.programs.CreateCounter, made)
    for member in (target.member, COLD, *OTHERS):
        earning = ledger_pb2.EarnRequest(
            program=program, member=member, request_id=fresh("r"), points=10**6
        )
        ledger.call(ledger.ledger.Earn, earning)
    family = group_pb2.CreateGroupRequest(
        program=program, group="family", request_id="create", kind=resources_pb2.Account.GROUP
    )
    ledger.call(ledger.accounts.CreateGroup, family)
    joining = group_pb2.AddGroupMemberRequest(
        program=program, member="uncle", group="family", request_id="join"
    )
    ledger.call(ledger.accounts.AddGroupMember, joining)


def assert_unharmed(target: Target) -> None:
    """The process lives, its log has no fault, and the member's books balance."""
    assert target.process.alive()
    assert target.process.faults() == []
    request = ledger_pb2.VerifyAccountRequest(program=target.program, member=target.member)
    verified = target.ledger.call(target.ledger.ledger.VerifyAccount, request)
    assert verified.ok, verified.findings


def valid(target: Target, method: MethodDescriptor) -> Message:
    """A valid request of a method; what changes a program gets one of its own."""
    if method.name in CHANGE_PROGRAMS:
        program = f"p{uuid.uuid4().hex}"
        furnish(target, program, Timestamp(seconds=1_700_000_000))
        return VALID[method.name](program, target.member)
    return VALID[method.name](target.program, target.member)


def some_mutants(dice: random.Random, message: Message) -> list[tuple[str, Message]]:
    """All mutants, or so many of them, always others."""
    found = list(mutants(message))
    return found if len(found) <= MUTANTS_MAX else dice.sample(found, MUTANTS_MAX)


@pytest.mark.parametrize("name", METHODS)
def test_a_valid_request_is_answered(target: Target, name: str) -> None:
    """So that what follows changes something that works."""
    method = METHODS[name]

    outcome = target.call(method, valid(target, method).SerializeToString())

    assert outcome == NOT_THERE.get(method.name, "OK")


@pytest.mark.parametrize("name", METHODS)
def test_a_hostile_request_is_refused_with_a_reason(target: Target, name: str) -> None:
    """Each field missing, oversized and hostile; bytes that are no message."""
    method = METHODS[name]
    dice = random.Random(f"{SEED} {name}")
    request = valid(target, method)
    sent = [("empty", b""), ("valid", request.SerializeToString())]
    sent += [(label, made.SerializeToString()) for label, made in some_mutants(dice, request)]
    sent += list(garbage(dice, request.SerializeToString()))

    outcomes = [(label, target.call(method, message)) for label, message in sent]

    assert [pair for pair in outcomes if pair[1].startswith("!")] == []
    assert_unharmed(target)


@pytest.mark.parametrize("seconds", [-62_135_596_800, 253_402_300_799])
def test_a_clock_at_the_end_of_time_breaks_nothing(target: Target, seconds: int) -> None:
    """Year 1 and year 9999: a program is refused there, or every method answers in it."""
    program = f"p{uuid.uuid4().hex}"
    method = METHODS["/loyalty.ledger.v1.ProgramService/CreateProgram"]
    request = program_pb2.CreateProgramRequest(
        program=program, sandbox=True, start_time=Timestamp(seconds=seconds)
    )
    request.settings.program.time_zone = "Pacific/Apia"
    request.settings.program.auto_enrol = True
    request.settings.points.expiry.add(strategy="i", kind="INACTIVITY", months=1200)
    request.settings.points.expiry.add(strategy="f", kind="FIXED", days=36525, round_to="YEAR")
    outcomes = {"CreateProgram": target.call(method, request.SerializeToString())}
    for name in METHODS.values():
        made = VALID[name.name](program, "ada")
        for expiry in ("f", "i") if name.name == "Earn" else ("",):
            if expiry:
                made.expiry = expiry  # type: ignore[attr-defined]
            outcomes[f"{name.name} {expiry}"] = target.call(name, made.SerializeToString())

    assert {name: text for name, text in outcomes.items() if text.startswith("!")} == {}
    assert_unharmed(target)


def test_a_message_too_large_is_refused(target: Target) -> None:
    """Far beyond the limit: no fault, and the next call is served."""
    method = METHODS["/loyalty.ledger.v1.LedgerService/Earn"]
    request = valid(target, method)
    request.reference = "x" * (5 * 1024 * 1024)  # type: ignore[attr-defined]

    outcome = target.call(method, request.SerializeToString())

    assert "INTERNAL" not in outcome
    assert "UNKNOWN" not in outcome
    assert outcome != "OK"
    assert_unharmed(target)
