"""The sample that a suite on one machine starts with, and how to try it."""

import shlex
import time
from collections.abc import Callable, Mapping

import grpc

from chassis.identity import MEMBER_SCOPE, SCOPES, Identity, Jwk, TokenIssuer
from chassis.supervise import Home, SuiteError
from loyalty.ledger.v1 import ledger_pb2, program_pb2, resources_pb2
from loyalty.ledger.v1.ledger_pb2_grpc import LedgerServiceStub
from loyalty.ledger.v1.program_pb2_grpc import ProgramServiceStub

ORGANIZATION = "demo"
PROGRAM = "sample"
MEMBER = "ada"
OPENING_POINTS = 500
TIMEOUT_S = 10.0
TRIES_MAX = 20
PAUSE_S = 0.25

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


def seed(ledger: str, signing_key: Jwk) -> None:
    """Make the organization `demo`, its program `sample` and a member with points.

    What is there already stays as it is, whatever has become of it since. Raises SuiteError where
    the ledger at the address `ledger` does not do it.
    """
    identity = Identity(ORGANIZATION, SCOPES - {MEMBER_SCOPE}, "sample")
    token = TokenIssuer(signing_key).issue(identity)
    with grpc.insecure_channel(ledger, [("grpc.enable_http_proxy", 0)]) as channel:
        programs, members = ProgramServiceStub(channel), LedgerServiceStub(channel)
        make = _Maker(token)
        make(
            programs.CreateOrganization,
            program_pb2.CreateOrganizationRequest(
                organization=ORGANIZATION,
                settings=program_pb2.OrganizationSettings(multiple_programs=True),
            ),
        )
        make(
            programs.CreateProgram,
            program_pb2.CreateProgramRequest(
                program=PROGRAM, display_name="Sample program", settings=SETTINGS
            ),
        )
        for counter, described in COUNTERS.items():
            request = program_pb2.CreateCounterRequest(
                program=PROGRAM, counter_id=counter, counter=described
            )
            make(programs.CreateCounter, request)
        make(
            members.Earn,
            ledger_pb2.EarnRequest(
                program=PROGRAM,
                member=MEMBER,
                request_id="sample-opening",
                points=OPENING_POINTS,
                reference="sample",
            ),
        )


class _Maker:
    """Calls a method that makes something, again while the ledger is not reachable."""

    def __init__(self, token: str) -> None:
        self._metadata = (("authorization", f"Bearer {token}"),)

    def __call__(self, method: Callable[..., object], request: object) -> None:
        for attempt in range(TRIES_MAX):
            try:
                method(request, timeout=TIMEOUT_S, metadata=self._metadata)
            except grpc.RpcError as error:
                code = error.code()
                if code == grpc.StatusCode.ALREADY_EXISTS:
                    return
                if code == grpc.StatusCode.UNAVAILABLE and attempt + 1 < TRIES_MAX:
                    time.sleep(PAUSE_S)
                    continue
                raise SuiteError(
                    f"the sample program cannot be made: {code.name} {error.details()}"
                ) from None
            return


def guide(home: Home, host: str, ports: Mapping[str, int]) -> str:
    """Answer what a person needs to start: addresses, the key, three commands to paste."""
    base = f"http://{host}:{ports['LOYALTY_HTTP_PORT']}"
    member = f"{base}/v1/programs/{PROGRAM}/members/{MEMBER}"
    key = f'-H "Authorization: Bearer $(cat {shlex.quote(str(home.admin_key))})"'

    def post(verb: str, points: int) -> str:
        return (
            f'curl -sS {key} -H "Idempotency-Key: {verb}-$(date +%s%N)" '
            f"-H 'Content-Type: application/json' -d '{{\"points\": \"{points}\"}}' {member}:{verb}"
        )

    gateway, ledger = ports["LOYALTY_GATEWAY_PORT"], ports["LOYALTY_LEDGER_PORT"]
    lines = (
        "",
        f"The loyalty suite is running at {base} (documentation: {base}/docs).",
        f"gRPC: {host}:{gateway} (gateway), {host}:{ledger} (ledger).",
        f"The administrator's key is in {home.admin_key}. Ctrl-C stops everything.",
        "",
        f"Give the member {MEMBER} of the program {PROGRAM} 100 points, take 30, and look:",
        "",
        f"  {post('earn', 100)}",
        f"  {post('redeem', 30)}",
        f"  curl -sS {key} {member}/account",
        "",
    )
    return "\n".join(lines) + "\n"
