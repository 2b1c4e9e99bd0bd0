"""The ledger, as far as rules ask it."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import grpc.aio

from chassis.channels import Metadata
from chassis.peers import answer, refusal_of_status
from chassis.refusals import DependencyUnavailable
from kernel.ids import microseconds
from kernel.money import exponent
from kernel.refusals import Refusal
from loyalty.ledger.v1 import ledger_pb2, program_pb2
from loyalty.ledger.v1.ledger_pb2_grpc import LedgerServiceStub
from loyalty.ledger.v1.program_pb2_grpc import ProgramServiceStub
from services.rules.domain.evaluate import Judgement
from services.rules.domain.events import Examined
from services.rules.domain.facts import ProgramFacts

NAME = "ledger"
RETRIED = ("loyalty.ledger.v1.LedgerService", "loyalty.ledger.v1.ProgramService")
POSTS_MAX = 1_000
OPERATIONS_MAX = 2_000
ACCOUNTS_MAX = 1_000


@dataclass(frozen=True, slots=True)
class ProgramNow:
    """A program as the ledger has it at this moment."""

    revision: int
    sandbox: bool
    now: datetime
    currency: str


@dataclass(frozen=True, slots=True)
class Posted:
    """What the ledger recorded, in bytes: the posting, and the account where it was answered."""

    posting: bytes
    account: bytes | None = None


def post_bytes(
    program: str,
    member: str,
    event: Examined,
    judgement: Judgement,
    facts: ProgramFacts,
    ruleset: int,
) -> bytes:
    """The request that posts what an event comes to; it is kept, and sent as it is."""
    post = ledger_pb2.PostRequest(program=program, member=member, request_id=event.id)
    micros = microseconds(event.effective_time)
    post.effective_time.seconds = micros // 1_000_000
    post.effective_time.nanos = micros % 1_000_000 * 1_000
    for earning in judgement.earnings:
        earn = post.operations.add().earn
        earn.points = earning.points
        earn.currency = earning.currency
        earn.expiry = earning.expiry
        source = earn.source
        source.event = event.id
        source.rule = earning.rule
        source.ruleset = ruleset
        if earning.value:
            source.value.amount = earning.value
            source.value.currency = facts.money
            source.rate = earning.rate
            source.rounding = earning.rounding
    for counter, value in judgement.counts:
        count = post.operations.add().count
        count.counter = counter
        count.value = value
    return post.SerializeToString(deterministic=True)


class Ledger:
    """Calls of the ledger. Refusals are raised; those of one post of many are answered."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._ledger = LedgerServiceStub(channel)
        self._programs = ProgramServiceStub(channel)

    async def program(self, program: str, seconds: float, metadata: Metadata) -> ProgramNow:
        """The program's revision and now. Refusals: PROGRAM_NOT_FOUND."""
        request = program_pb2.GetProgramRequest(program=program)
        found = await answer(self._programs.GetProgram, request, metadata, NAME, seconds=seconds)
        now = found.now.ToDatetime(tzinfo=UTC)
        return ProgramNow(found.revision, found.sandbox, now, found.currency)

    async def facts(
        self, program: str, known: ProgramNow, seconds: float, metadata: Metadata
    ) -> ProgramFacts:
        """The program's configuration, under the known revision.

        Where it changes meanwhile, the next look at the revision tells.
        """
        asked = (
            (self._programs.GetProgramSettings, program_pb2.GetProgramSettingsRequest),
            (self._programs.ListCurrencies, program_pb2.ListCurrenciesRequest),
            (self._programs.ListCounters, program_pb2.ListCountersRequest),
        )
        settings, currencies, counters = await asyncio.gather(
            *(
                answer(method, request(program=program), metadata, NAME, seconds=seconds)
                for method, request in asked
            )
        )
        general = settings.program
        return ProgramFacts(
            revision=known.revision,
            sandbox=known.sandbox,
            zone=ZoneInfo(general.time_zone),
            money=general.currency_code,
            exponent=exponent(general.currency_code),
            currency=known.currency,
            currencies=frozenset(each.currency for each in currencies.currencies),
            strategies=frozenset(each.strategy for each in settings.points.expiry),
            counters={each.counter: each.unit for each in counters.counters},
        )

    async def create_counter(
        self, program: str, counter: str, unit: str, seconds: float, metadata: Metadata
    ) -> None:
        """Register a counter, or leave the equal one. Refusals: COUNTER_EXISTS, LIMIT_REACHED."""
        request = program_pb2.CreateCounterRequest(
            program=program, counter_id=counter, counter=program_pb2.Counter(unit=unit)
        )
        await answer(self._programs.CreateCounter, request, metadata, NAME, seconds=seconds)

    async def post(self, post: bytes, seconds: float, metadata: Metadata) -> Posted | Refusal:
        """Send one post, and answer what was recorded with the account after it, or why not."""
        request = ledger_pb2.PostRequest.FromString(post)
        try:
            done = await answer(self._ledger.Post, request, metadata, NAME, seconds=seconds)
        except Refusal as refusal:
            return refusal
        return Posted(done.posting.SerializeToString(), done.account.SerializeToString())

    async def batch_post(
        self, program: str, posts: Sequence[bytes], seconds: float, metadata: Metadata
    ) -> list[Posted | Refusal]:
        """Send posts in order, in as few calls as the ledger takes; one answer a post.

        Where a call fails, its posts and those after it are answered with its refusal: whether they
        were applied is not known.
        """
        results: list[Posted | Refusal] = []
        for requests in _chunks([ledger_pb2.PostRequest.FromString(each) for each in posts]):
            batch = ledger_pb2.BatchPostRequest(program=program, requests=requests)
            try:
                done = await answer(self._ledger.BatchPost, batch, metadata, NAME, seconds=seconds)
            except Refusal as refusal:
                return results + [refusal] * (len(posts) - len(results))
            if len(done.results) != len(requests):
                return results + [DependencyUnavailable(NAME)] * (len(posts) - len(results))
            results += [
                Posted(each.posting.SerializeToString())
                if each.HasField("posting")
                else refusal_of_status(each.status, NAME)
                for each in done.results
            ]
        return results

    async def accounts(
        self, program: str, members: Sequence[str], seconds: float, metadata: Metadata
    ) -> dict[str, bytes]:
        """What members have, in bytes; those that are not enrolled are left out."""
        found: dict[str, bytes] = {}
        for begin in range(0, len(members), ACCOUNTS_MAX):
            request = ledger_pb2.BatchGetAccountsRequest(
                program=program, members=members[begin : begin + ACCOUNTS_MAX]
            )
            some = await answer(
                self._ledger.BatchGetAccounts, request, metadata, NAME, seconds=seconds
            )
            for account in some.accounts:
                member = account.addressed_member or account.member
                found[member] = account.SerializeToString()
        return found


def _chunks(
    requests: Sequence[ledger_pb2.PostRequest],
) -> list[list[ledger_pb2.PostRequest]]:
    chunks: list[list[ledger_pb2.PostRequest]] = []
    operations = 0
    for request in requests:
        size = len(request.operations)
        if not chunks or len(chunks[-1]) >= POSTS_MAX or operations + size > OPERATIONS_MAX:
            chunks.append([])
            operations = 0
        chunks[-1].append(request)
        operations += size
    return chunks
