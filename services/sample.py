"""The sample that a suite on one machine starts with, and how to try it."""

import shlex
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import grpc

from chassis.identity import MEMBER_SCOPE, SCOPES, Identity, Jwk, TokenIssuer
from chassis.supervise import Certificates, Home, SuiteError, dial
from loyalty.audience.v1 import audience_pb2
from loyalty.audience.v1.audience_pb2 import AudienceCriterion
from loyalty.audience.v1.audience_pb2_grpc import AudienceServiceStub
from loyalty.ledger.v1 import ledger_pb2, program_pb2, resources_pb2
from loyalty.ledger.v1.ledger_pb2_grpc import LedgerServiceStub
from loyalty.ledger.v1.program_pb2_grpc import ProgramServiceStub
from loyalty.rules.v1 import earning_pb2
from loyalty.rules.v1.earning_pb2_grpc import EarningServiceStub
from loyalty.tiers.v1 import tiers_pb2
from loyalty.tiers.v1.tiers_pb2_grpc import TierServiceStub

ORGANIZATION = "demo"
PROGRAM = "sample"
MEMBER = "ada"
OPENING = "sample-opening"
OPENING_POINTS = 500
TIMEOUT_S = 10.0
TRIES_MAX = 40
PAUSE_S = 0.25
_PASSING = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED})

SETTINGS = program_pb2.ProgramSettings(
    program=program_pb2.GeneralSettings(currency_code="USD", auto_enrol=True),
    points=program_pb2.PointsSettings(
        expiry=[
            resources_pb2.ExpiryStrategy(
                strategy="year", kind=resources_pb2.ExpiryStrategy.FIXED, months=12
            )
        ],
        default_expiry="year",
    ),
    redemption=program_pb2.RedemptionSettings(conversion_rate="0.01"),
)
COUNTERS = {
    "spend": program_pb2.Counter(unit="minor:USD", display_name="Spend"),
    "visits": program_pb2.Counter(unit="visits", display_name="Visits"),
}
EVENT_POINTS = {"qr_scan": 20, "draw_entered": 0, "appointment_completed": 50}
RULE = "dollars"
EARNING = earning_pb2.EarningRule(
    display_name="A point for every dollar, times the tier's rate",
    points="1",
    per_amount="1",
    tier_rate=True,
)
# Dollars spent since enrolment, the earning rate, and what else there is.
TIERS = (
    ("bronze", "Bronze", 0, "1", ()),
    ("silver", "Silver", 250, "1.25", ("Free shipping",)),
    ("gold", "Gold", 1000, "1.5", ("Free shipping", "A gift on your birthday")),
)
AUDIENCES = {
    "newcomers": audience_pb2.Audience(
        display_name="Newcomers: less than 1,000 points earned so far",
        group="lifetime",
        criteria=[AudienceCriterion(field=AudienceCriterion.LIFETIME_EARNED, maximum=999)],
    ),
    "regulars": audience_pb2.Audience(
        display_name="Regulars: 1,000 points earned so far, or more",
        group="lifetime",
        criteria=[AudienceCriterion(field=AudienceCriterion.LIFETIME_EARNED, minimum=1000)],
    ),
    "big-spenders": audience_pb2.Audience(
        display_name="Silver and gold with at least 200 points to spend",
        criteria=[
            AudienceCriterion(field=AudienceCriterion.TIER, tiers=["silver", "gold"]),
            AudienceCriterion(field=AudienceCriterion.AVAILABLE, minimum=200),
        ],
    ),
}


@dataclass(frozen=True, slots=True)
class Stubs:
    """The services as the sample calls them, each through `make`, which waits for it."""

    make: "_Maker"
    programs: ProgramServiceStub
    ledger: LedgerServiceStub
    earning: EarningServiceStub
    tiers: TierServiceStub
    audiences: AudienceServiceStub


@contextmanager
def stubs(
    host: str,
    ports: Mapping[str, int],
    signing_key: Jwk,
    certificates: Certificates | None = None,
) -> Iterator[Stubs]:
    """Stubs for a suite at these ports, as the organization `demo` with all rights."""
    token = TokenIssuer(signing_key).issue(
        Identity(ORGANIZATION, SCOPES - {MEMBER_SCOPE}, "sample")
    )
    channels = {
        name: dial(f"{host}:{ports[f'LOYALTY_{name}_PORT']}", certificates)
        for name in ("LEDGER", "RULES", "TIERS", "AUDIENCE")
    }
    try:
        yield Stubs(
            _Maker(token),
            ProgramServiceStub(channels["LEDGER"]),
            LedgerServiceStub(channels["LEDGER"]),
            EarningServiceStub(channels["RULES"]),
            TierServiceStub(channels["TIERS"]),
            AudienceServiceStub(channels["AUDIENCE"]),
        )
    finally:
        for channel in channels.values():
            channel.close()


def seed(
    host: str,
    ports: Mapping[str, int],
    signing_key: Jwk,
    certificates: Certificates | None = None,
) -> None:
    """Make the organization `demo`, its program `sample` and a member with points.

    Done once: afterwards it stays as it is, whatever has become of it. Raises SuiteError where a
    service does not do its part.
    """
    with stubs(host, ports, signing_key, certificates) as suite:
        make = suite.make
        make(
            suite.programs.CreateOrganization,
            program_pb2.CreateOrganizationRequest(
                organization=ORGANIZATION,
                settings=program_pb2.OrganizationSettings(multiple_programs=True),
            ),
        )
        # The member's opening points are given last, and so say that all the rest was made.
        account = ledger_pb2.GetAccountRequest(program=PROGRAM, member=MEMBER)
        if make(suite.ledger.GetAccount, account, done=grpc.StatusCode.NOT_FOUND) is not None:
            return
        make_program(
            suite,
            program_pb2.CreateProgramRequest(
                program=PROGRAM, display_name="Sample program", settings=SETTINGS
            ),
        )
        opening = ledger_pb2.EarnRequest(
            program=PROGRAM,
            member=MEMBER,
            request_id=OPENING,
            points=OPENING_POINTS,
            reference="sample",
        )
        make(suite.ledger.Earn, opening)


def make_program(suite: Stubs, request: program_pb2.CreateProgramRequest) -> None:
    """Make a program with counters, event points, an earning rule, a ladder and audiences.

    What is there already stays as it is.
    """
    make, program = suite.make, request.program
    make(suite.programs.CreateProgram, request)
    for counter, described in COUNTERS.items():
        make(
            suite.programs.CreateCounter,
            program_pb2.CreateCounterRequest(
                program=program, counter_id=counter, counter=described
            ),
        )
    points = [
        earning_pb2.EventPoints(type=name, points=worth) for name, worth in EVENT_POINTS.items()
    ]
    make(
        suite.earning.SetEventPoints,
        earning_pb2.SetEventPointsRequest(program=program, event_points=points),
    )
    make(
        suite.earning.CreateEarningRule,
        earning_pb2.CreateEarningRuleRequest(program=program, rule=RULE, earning_rule=EARNING),
    )
    make(
        suite.tiers.CreateLadder,
        tiers_pb2.CreateLadderRequest(program=program, ladder_id="status", ladder=ladder()),
    )
    for name, audience in AUDIENCES.items():
        make(
            suite.audiences.CreateAudience,
            audience_pb2.CreateAudienceRequest(
                program=program, audience_id=name, audience=audience
            ),
        )


def ladder() -> tiers_pb2.Ladder:
    """Bronze, Silver and Gold by dollars spent since enrolment; the counter is in cents."""
    spent = resources_pb2.CounterWindow(
        counter="spend", period=resources_pb2.CounterWindow.LIFETIME
    )
    return tiers_pb2.Ladder(
        display_name="Status",
        tiers=[
            tiers_pb2.Tier(
                tier=tier,
                display_name=name,
                criteria=[tiers_pb2.Criterion(window=spent, threshold=dollars * 100)]
                if dollars
                else [],
                earning_rate=rate,
                benefits=benefits,
            )
            for tier, name, dollars, rate, benefits in TIERS
        ],
    )


class _Maker:
    """Calls a method, again while its service is not reachable."""

    def __init__(self, token: str) -> None:
        self._metadata = (("authorization", f"Bearer {token}"),)

    def __call__(
        self,
        method: Callable[..., Any],
        request: object,
        done: grpc.StatusCode = grpc.StatusCode.ALREADY_EXISTS,
    ) -> Any:
        """The answer; None where the call failed with `done`, which is as good."""
        for _ in range(TRIES_MAX):
            try:
                return method(request, timeout=TIMEOUT_S, metadata=self._metadata)
            except grpc.RpcError as error:
                code, details = error.code(), error.details()
                if code == done:
                    return None
                if code not in _PASSING:
                    break
                time.sleep(PAUSE_S)
        raise SuiteError(f"the sample program cannot be made: {code.name} {details}")


def guide(
    home: Home, host: str, ports: Mapping[str, int], certificates: Certificates | None = None
) -> str:
    """Answer what a person needs to start: addresses, the key, three commands to paste."""
    base = f"{'https' if certificates else 'http'}://{host}:{ports['LOYALTY_HTTP_PORT']}"
    program = f"{base}/v1/programs/{PROGRAM}"
    member = f"{program}/members/{MEMBER}"
    key = f'-H "Authorization: Bearer $(cat {shlex.quote(str(home.admin_key))})"'
    if certificates is not None:
        key = f"--cacert {shlex.quote(str(certificates.authority.resolve()))} {key}"
    send = f"curl -sS {key} -H 'Content-Type: application/json'"
    event = (
        f'{{\\"id\\": \\"paid-$(date +%s%N)\\", \\"type\\": \\"purchase\\",'
        f' \\"member\\": \\"{MEMBER}\\", \\"amount\\": {{\\"amount\\": \\"100.00\\"}}}}'
    )
    redeem = '-H "Idempotency-Key: redeem-$(date +%s%N)" -d \'{"points": "30"}\''
    services = ("GATEWAY", "LEDGER", "RULES", "TIERS", "AUDIENCE")
    listening = (f"{ports[f'LOYALTY_{name}_PORT']} ({name.lower()})" for name in services)
    lines = (
        "",
        f"The loyalty suite is running at {base} (documentation: {base}/docs).",
        f"gRPC on {host}: {', '.join(listening)}.",
        f"The administrator's key is in {home.admin_key}. Ctrl-C stops everything.",
        "",
        f"{MEMBER} of the program {PROGRAM} buys for 100 dollars, redeems 30 points, and is shown:",
        "",
        f'  {send} -d "{event}" {program}/events',
        f"  {send} {redeem} {member}:redeem",
        f"  curl -sS {key} {member}",
        "",
    )
    return "\n".join(lines) + "\n"
