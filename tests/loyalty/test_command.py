"""The `loyalty` command as a process, against a server that plays the suite."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.any_pb2 import Any as Packed
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import error_details_pb2, status_pb2

from chassis.signing import ensure_key_pair, read_signer
from loyalty.gateway.v1 import credential_pb2, credential_pb2_grpc
from loyalty.ledger.v1 import ledger_pb2, ledger_pb2_grpc, proof_pb2, proof_pb2_grpc
from loyalty.ledger.v1.resources_pb2 import Account, Amounts, Balance, Entry
from services.ledger.domain.checkpoints import NONE, PURPOSE, Checkpoint, signed_line

ROOT = Path(__file__).parents[2]
COMMAND = (sys.executable, "-c", "from loyalty.command import main; main()")
FINDING = ledger_pb2.Finding(row="balance points", field="available", expected="70", stored="75")


@dataclass
class Suite(
    ledger_pb2_grpc.LedgerServiceServicer,
    proof_pb2_grpc.ProofServiceServicer,
    credential_pb2_grpc.CredentialServiceServicer,
):
    """Plays the gateway and the ledger: `members` members, of which `wrong` disagree.

    A stream breaks once after it verified so many as `breaks`; with `stays_broken` it ever breaks.
    """

    members: int = 2500
    wrong: frozenset[str] = frozenset()
    breaks: int = 0
    stays_broken: bool = False
    verified: list[str] = field(default_factory=list)
    issued: list[credential_pb2.IssueTokenRequest] = field(default_factory=list)
    port: int = 0

    def IssueToken(self, request: credential_pb2.IssueTokenRequest, context: Any) -> Any:
        assert dict(context.invocation_metadata())["authorization"] == "Bearer the-key"
        self.issued.append(request)
        return credential_pb2.IssueTokenResponse(
            token="the-token", expire_time=Timestamp(seconds=2**32)
        )

    def VerifyProgram(
        self, request: proof_pb2.VerifyProgramRequest, context: Any
    ) -> Iterator[proof_pb2.VerifyProgramResponse]:
        assert dict(context.invocation_metadata())["authorization"] == "Bearer the-token"
        mine = range(request.shard, self.members, request.shards)
        ahead = [number for number in mine if number >= request.after_account]
        yield proof_pb2.VerifyProgramResponse(total=len(ahead), account=request.after_account)
        for number in ahead:
            if self.breaks and len(self.verified) >= self.breaks:
                self.breaks = self.breaks if self.stays_broken else 0
                context.abort(grpc.StatusCode.UNAVAILABLE, "the ledger is started anew")
            self.verified.append(f"m-{number}")
            # An account's number is one more than the member's, so that 0 is the beginning.
            part = proof_pb2.VerifyProgramResponse(accounts=1, entries=3, account=number + 1)
            if f"m-{number}" in self.wrong:
                part.disagreeing.add(member=f"m-{number}", findings=[FINDING])
            yield part

    def GetAccount(self, request: ledger_pb2.GetAccountRequest, context: Any) -> Any:
        if request.member == "late":
            refuse(context, grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_PASSED")
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
    proof_pb2_grpc.add_ProofServiceServicer_to_server(playing, server)
    credential_pb2_grpc.add_CredentialServiceServicer_to_server(playing, server)
    playing.port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield playing
    server.stop(None).wait(5)


def environment(suite: Suite, **environ: str) -> dict[str, str]:
    """The suite's addresses and an API key."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LOYALTY_")}
    return {
        **kept,
        "PYTHONPATH": str(ROOT / "libs"),
        "LOYALTY_API_KEY": "the-key",
        "LOYALTY_GATEWAY_PORT": str(suite.port),
        "LOYALTY_LEDGER_PORT": str(suite.port),
        "COLUMNS": "100",
        **environ,
    }


def loyalty(suite: Suite, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    return subprocess.run(
        [*COMMAND, *arguments],
        env=environment(suite, **environ),
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


@pytest.mark.parametrize("shards", ["1", "3"])
def test_verify_verifies_every_member_once(suite: Suite, shards: str) -> None:
    done = loyalty(suite, "verify", "sample", "--concurrency", shards)

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


def test_verify_goes_on_where_a_stream_broke(suite: Suite) -> None:
    suite.breaks = 800
    done = loyalty(suite, "verify", "sample", "--concurrency", "1")

    assert done.returncode == 0, done.stderr
    assert "accounts 2,500, entries 7,500" in done.stdout
    assert sorted(suite.verified) == sorted(f"m-{i}" for i in range(2500))


def test_an_interrupted_verification_says_where_it_goes_on(suite: Suite) -> None:
    suite.breaks, suite.stays_broken = 1000, True
    stopped = loyalty(suite, "verify", "sample")
    position = re.search(r"--from (\S+)", stopped.stderr)
    assert position, stopped.stderr
    before = len(suite.verified)
    suite.breaks = 0
    done = loyalty(suite, "verify", "sample", "--from", position[1])

    assert (stopped.returncode, done.returncode) == (4, 0)
    assert f"accounts {2500 - before:,}" in done.stdout
    assert sorted(suite.verified) == sorted(f"m-{i}" for i in range(2500))


def test_a_reader_that_left_ends_the_command_quietly(suite: Suite) -> None:
    """As in `loyalty verify … | head`: 1 would say that the ledger disagrees with itself."""
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [*COMMAND, "verify", "sample"],
        env=environment(suite),
        stdout=writing,
        stderr=subprocess.PIPE,
        timeout=60,
        check=False,
    )
    os.close(writing)

    assert (done.returncode, done.stderr) == (141, b"")


def checkpoint_files(folder: Path) -> tuple[Path, Path]:
    """A file with a checkpoint of nothing, and the key that signed it."""
    ensure_key_pair(folder / "key", folder / "key.pub")
    unsigned = Checkpoint(1, datetime(2026, 1, 1, tzinfo=UTC), NONE, (0,), ()).unsigned()
    signed = signed_line(unsigned, read_signer(folder / "key").sign(PURPOSE + unsigned))
    (folder / "checkpoints.jsonl").write_bytes(signed + b"\n")
    return folder / "checkpoints.jsonl", folder / "key.pub"


def test_verify_compares_the_history_with_a_file_of_checkpoints(
    suite: Suite, tmp_path: Path
) -> None:
    file, public = checkpoint_files(tmp_path)
    options = ("--checkpoints", str(file), "--public-key", str(public))
    whole = loyalty(suite, "verify", "sample", *options)
    file.write_bytes(file.read_bytes().replace(b"2026", b"2025"))
    altered = loyalty(suite, "verify", "sample", *options)

    assert whole.returncode == 0, whole.stderr
    assert "checkpoints 1, leaves 0; the last one is of 2026-01-01T00:00:00" in whole.stdout
    assert altered.returncode == 1
    assert "checkpoints, line 1: its signature is not that of the key" in altered.stdout
    assert "the history is not the one that was signed" in altered.stderr


@pytest.mark.parametrize(
    "arguments,environ,code,said",
    [
        pytest.param(
            ("member", "show", "sample", "bob"), {}, 3, "MEMBER_NOT_FOUND", id="a refusal"
        ),
        pytest.param(
            ("member", "show", "sample", "late"), {}, 4, "DEADLINE_PASSED", id="what may pass"
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
        pytest.param(("verify", "sample", "--from", "x"), {}, 2, "said", id="no position"),
        pytest.param(
            ("verify", "sample", "--checkpoints", "/nowhere"), {}, 2, "together", id="half a proof"
        ),
        pytest.param(
            ("verify", "sample", "--checkpoints", "/nowhere", "--public-key", "/nowhere"),
            {},
            2,
            "No such file",
            id="a file that is not there",
        ),
        pytest.param(
            ("verify", "sample", "--checkpoints", __file__, "--public-key", __file__),
            {},
            2,
            "no PEM",
            id="a key that is none",
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
