"""The `loyalty` command as a process, against a server that plays the suite."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.any_pb2 import Any as Packed
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import error_details_pb2, status_pb2

from loyalty.gateway.v1 import credential_pb2, credential_pb2_grpc
from loyalty.ledger.v1 import account_pb2, account_pb2_grpc, ledger_pb2, ledger_pb2_grpc
from loyalty.ledger.v1.resources_pb2 import Account, Amounts, Balance, Entry

ROOT = Path(__file__).parents[2]


@dataclass
class Suite(
    ledger_pb2_grpc.LedgerServiceServicer,
    account_pb2_grpc.AccountServiceServicer,
    credential_pb2_grpc.CredentialServiceServicer,
):
    """Plays the gateway and the ledger: `members` members, of which `wrong` disagree."""

    members: int = 2500
    wrong: frozenset[str] = frozenset()
    verified: list[str] = field(default_factory=list)
    issued: list[credential_pb2.IssueTokenRequest] = field(default_factory=list)
    port: int = 0

    def IssueToken(self, request: credential_pb2.IssueTokenRequest, context: Any) -> Any:
        assert dict(context.invocation_metadata())["authorization"] == "Bearer the-key"
        self.issued.append(request)
        return credential_pb2.IssueTokenResponse(
            token="the-token", expire_time=Timestamp(seconds=2**32)
        )

    def ListMembers(self, request: account_pb2.ListMembersRequest, context: Any) -> Any:
        assert dict(context.invocation_metadata())["authorization"] == "Bearer the-token"
        start = int(request.page_token or 0)
        end = min(self.members, start + request.page_size)
        return account_pb2.ListMembersResponse(
            members=[account_pb2.Member(member=f"m-{i}") for i in range(start, end)],
            next_page_token="" if end == self.members else str(end),
        )

    def VerifyAccount(self, request: ledger_pb2.VerifyAccountRequest, context: Any) -> Any:
        self.verified.append(request.member)
        if request.member not in self.wrong:
            return ledger_pb2.VerifyAccountResponse(ok=True, entries=3)
        finding = ledger_pb2.Finding(
            row="balance points", field="available", expected="70", stored="75"
        )
        return ledger_pb2.VerifyAccountResponse(entries=3, findings=[finding])

    def GetAccount(self, request: ledger_pb2.GetAccountRequest, context: Any) -> Any:
        if request.member != "ada":
            refuse(context, grpc.StatusCode.NOT_FOUND, "MEMBER_NOT_FOUND")
        balance = Balance(currency="points", available=1234567)
        return Account(program=request.program, member="ada", balances=[balance], version=4)

    def ListEntries(self, request: ledger_pb2.ListEntriesRequest, context: Any) -> Any:
        entry = Entry(
            kind=Entry.EARNED,
            currency="points",
            points=250,
            after=Amounts(available=1234567),
            effective_time=Timestamp(seconds=1_700_000_000),
        )
        counted = Entry(
            kind=Entry.COUNTED,
            counter="spend",
            counter_change=1250,
            effective_time=Timestamp(seconds=1_700_000_000),
        )
        return ledger_pb2.ListEntriesResponse(entries=[counted, entry])

    def ListExpirations(self, request: ledger_pb2.ListExpirationsRequest, context: Any) -> Any:
        return ledger_pb2.ListExpirationsResponse()


def refuse(context: Any, code: grpc.StatusCode, reason: str) -> None:
    packed = Packed()
    packed.Pack(error_details_pb2.ErrorInfo(reason=reason, domain="loyalty"))
    status = status_pb2.Status(code=code.value[0], message="no", details=[packed])
    context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
    context.abort(code, "no")


@pytest.fixture
def suite() -> Iterator[Suite]:
    # What a test does not need answers UNIMPLEMENTED.
    playing = Suite()  # type: ignore[abstract]
    server = grpc.server(ThreadPoolExecutor(8), options=[("grpc.so_reuseport", 0)])
    ledger_pb2_grpc.add_LedgerServiceServicer_to_server(playing, server)
    account_pb2_grpc.add_AccountServiceServicer_to_server(playing, server)
    credential_pb2_grpc.add_CredentialServiceServicer_to_server(playing, server)
    playing.port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield playing
    server.stop(None).wait(5)


def loyalty(suite: Suite, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run the command with the suite's addresses and an API key."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LOYALTY_")}
    return subprocess.run(
        [sys.executable, "-c", "from loyalty.command import main; main()", *arguments],
        env={
            **kept,
            "PYTHONPATH": str(ROOT / "libs"),
            "LOYALTY_API_KEY": "the-key",
            "LOYALTY_GATEWAY_PORT": str(suite.port),
            "LOYALTY_LEDGER_PORT": str(suite.port),
            "COLUMNS": "100",
            **environ,
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_token_prints_the_token_alone(suite: Suite) -> None:
    done = loyalty(suite, "token", "--lifetime", "60", "--scope", "ledger:read")

    assert (done.returncode, done.stdout) == (0, "the-token\n")
    assert suite.issued == [
        credential_pb2.IssueTokenRequest(lifetime_seconds=60, scopes=["ledger:read"])
    ]


def test_the_administrators_key_is_found_in_the_home_folder(suite: Suite, tmp_path: Path) -> None:
    (tmp_path / "admin.key").write_text("the-key\n")
    done = loyalty(suite, "token", LOYALTY_API_KEY="", LOYALTY_HOME=str(tmp_path))

    assert (done.returncode, done.stdout) == (0, "the-token\n")


def test_a_member_is_shown_with_balances_and_entries(suite: Suite) -> None:
    done = loyalty(suite, "member", "show", "sample", "ada")

    assert done.returncode == 0, done.stderr
    for said in ("ada in sample", "1,234,567", "earned", "+250", "2023-11-14 22:13:20"):
        assert said in done.stdout
    counted = next(line for line in done.stdout.splitlines() if "counted" in line)
    # A count leaves the balance as it is: no number of points belongs there.
    assert "spend +1,250" in counted
    assert "+0" not in counted
    assert counted.split("│")[-2].strip() == ""


def test_a_member_is_shown_as_json(suite: Suite) -> None:
    done = loyalty(suite, "member", "show", "sample", "ada", "--json")

    assert json.loads(done.stdout)["balances"][0]["available"] == "1234567"


def test_verify_reads_every_page_and_verifies_every_member_once(suite: Suite) -> None:
    done = loyalty(suite, "verify", "sample", "--concurrency", "8")

    assert done.returncode == 0, done.stderr
    assert "accounts 2,500, entries 7,500" in done.stdout
    assert sorted(suite.verified) == sorted(f"m-{i}" for i in range(2500))


def test_verify_says_what_disagrees_and_ends_with_one(suite: Suite) -> None:
    suite.members = 5
    suite.wrong = frozenset({"m-1", "m-3"})
    done = loyalty(suite, "verify", "sample")

    assert done.returncode == 1
    line = "balance points, available: 70 follows from the entries, 75 is stored"
    assert sorted(done.stdout.splitlines()) == [f"m-1: {line}", f"m-3: {line}"]
    assert "2 of 5 accounts disagree" in done.stderr


@pytest.mark.parametrize(
    "arguments,environ,code,said",
    [
        pytest.param(
            ("member", "show", "sample", "bob"), {}, 3, "MEMBER_NOT_FOUND", id="a refusal"
        ),
        pytest.param(("member", "show", "sample"), {}, 2, "Missing argument", id="wrong usage"),
        pytest.param(("token", "--member", "ada"), {}, 2, "go together", id="half a member"),
        pytest.param(
            ("token",),
            {"LOYALTY_API_KEY": "", "LOYALTY_HOME": "/nowhere"},
            2,
            "no credential",
            id="no credential",
        ),
        pytest.param(
            ("token",),
            {"LOYALTY_GATEWAY_ADDRESS": "gateway.example:50050"},
            2,
            "not on this machine",
            id="a key that would leave the machine in the clear",
        ),
        pytest.param(
            ("verify", "sample"),
            {"LOYALTY_LEDGER_ADDRESS": "127.0.0.1:1"},
            4,
            "UNAVAILABLE",
            id="a ledger that is not there",
        ),
    ],
)
def test_what_went_wrong_is_one_line_and_an_exit_code(
    suite: Suite, arguments: tuple[str, ...], environ: dict[str, str], code: int, said: str
) -> None:
    done = loyalty(suite, *arguments, **environ)

    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
