"""The suite as it is run: what it prints works, and it survives the loss of any part of it."""

import re
import shutil
import signal
import ssl
import stat
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from loyalty.proof import public_key_of, read_checkpoints
from tests.chassis.certificates import certificates
from tests.faults.suite_process import SuiteProcess

PORTS = {
    f"LOYALTY_{name}_PORT": "0"
    for name in ("HTTP", "GATEWAY", "LEDGER", "RULES", "TIERS", "AUDIENCE")
}
SERVES = "/members/ada\n"
pytestmark = pytest.mark.slow


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder that other accounts may pass through, with a blank in its name."""
    folder = Path(tempfile.mkdtemp(prefix="loyalty run-"))
    folder.chmod(0o711)
    yield folder / "home"
    shutil.rmtree(folder, ignore_errors=True)


def start(home: Path) -> SuiteProcess:
    suite = SuiteProcess(home, ["-m", "services"], PORTS)
    suite.wait_for(SERVES)
    suite.note_processes()
    return suite


class Caller:
    """Calls the suite over HTTP as its administrator."""

    def __init__(self, suite: SuiteProcess) -> None:
        found = re.search(r"running at (\S+) ", suite.output)
        assert found is not None
        key = (suite.home / "admin.key").read_text().strip()
        self._program = f"{found[1]}/v1/programs/sample"
        self._headers = {"authorization": f"Bearer {key}"}

    def call(self, method: str, path: str, body: dict[str, str] | None = None) -> httpx.Response:
        return httpx.request(
            method, f"{self._program}{path}", json=body, headers=self._headers, trust_env=False
        )

    def available(self, member: str = "ada") -> int:
        answer = self.call("GET", f"/members/{member}/account")
        assert answer.status_code == 200, answer.text
        return int(answer.json()["balances"][0]["available"])

    def earn_until_answered(self, member: str = "ada", seconds: float = 30.0) -> int:
        """Earn 1 point, with the same request id until it is answered; answer the tries."""
        body = {"points": "1", "request_id": str(uuid.uuid4())}
        deadline = time.monotonic() + seconds
        for tries in range(1, 10_000):
            try:
                answer = self.call("POST", f"/members/{member}:earn", body)
            except httpx.TransportError:
                answer = None
            if answer is not None and answer.status_code == 200:
                return tries
            assert answer is None or answer.status_code in (429, 503, 504), answer.text
            assert time.monotonic() < deadline, "not answered in time"
            time.sleep(0.1)
        raise AssertionError


@pytest.mark.skipif(not shutil.which("curl"), reason="there is no curl to paste into")
def test_the_printed_commands_work_when_pasted_also_after_a_restart(home: Path) -> None:
    balances = []
    for _ in range(2):
        with start(home) as suite:
            commands = [line for line in suite.output.splitlines() if line.startswith("  curl")]
            answers = [
                subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
                for command in commands
            ]
            balances.append(Caller(suite).available())
            suite.process.send_signal(signal.SIGINT)

            assert len(commands) == 3
            assert all('"available":' in answer.stdout for answer in answers)
            assert "problem" not in "".join(answer.stdout for answer in answers)
            assert suite.wait() == 0
            assert suite.left(1) == []

    assert balances == [570, 640]
    assert stat.S_IMODE((home / "admin.key").stat().st_mode) == 0o600
    assert stat.S_IMODE((home / "keys/checkpoint.key").stat().st_mode) == 0o600
    # Both times when the suite stopped, history was signed.
    with (home / "checkpoints/checkpoints.jsonl").open("rb") as lines:
        signed = read_checkpoints(lines, public_key_of((home / "checkpoint.pub").read_bytes()))
    assert (signed.checkpoints, signed.problem) == (2, "")


def test_the_sample_program_is_ready_to_earn_spend_and_count(home: Path) -> None:
    with start(home) as suite:
        caller = Caller(suite)
        settings = caller.call("GET", "/settings").json()
        counters = caller.call("GET", "/counters").json()["counters"]
        body = {"points": "5", "request_id": "1"}
        newcomer = caller.call("POST", "/members/grace:earn", body).json()

        assert settings["program"]["autoEnrol"] is True
        assert settings["redemption"]["conversionRate"] == "0.01"
        assert settings["points"]["expiry"][0]["kind"] == "FIXED"
        assert settings["points"]["expiry"][0]["months"] == 12
        assert sorted(counter["counter"] for counter in counters) == ["spend", "visits"]
        assert newcomer["account"]["balances"][0]["available"] == "5"


def test_earnings_are_answered_again_after_each_part_was_killed(home: Path) -> None:
    with start(home) as suite:
        caller = Caller(suite)
        before = caller.available()
        for name in ("ledger", "postgres", "gateway"):
            pid = suite.kill(name)
            caller.earn_until_answered()
            suite.wait_until_replaced(name, pid)
        caller.earn_until_answered()

        assert caller.available() == before + 4
        suite.note_processes()
        suite.kill("supervisor")
        assert suite.left() == []

    with start(home) as suite:
        assert Caller(suite).available() == before + 4


def test_a_wrong_setting_is_told_at_once_and_nothing_is_started(home: Path) -> None:
    with SuiteProcess(home, ["-m", "services"], {**PORTS, "LOYALTY_LOG_LEVEL": "LOUD"}) as suite:
        code = suite.wait()

    assert code == 1
    assert suite.output.strip().endswith(
        "LOYALTY_LOG_LEVEL is 'LOUD': input should be 'DEBUG', 'INFO', 'WARNING' or 'ERROR'"
    )
    assert "Traceback" not in suite.output
    assert not (home / "postgres").exists()


def test_with_certificates_everything_is_served_and_called_over_tls(home: Path) -> None:
    made = certificates(home.parent / "certificates")
    paths = {
        "LOYALTY_TLS_CERTIFICATE_PATH": str(made.certificate),
        "LOYALTY_TLS_KEY_PATH": str(made.key),
        "LOYALTY_TLS_CA_PATH": str(made.authority),
    }
    with SuiteProcess(home, ["-m", "services"], {**PORTS, **paths}) as suite:
        suite.wait_for(SERVES)
        found = re.search(r"running at (https://\S+) ", suite.output)
        assert found is not None
        key = (home / "admin.key").read_text().strip()
        answer = httpx.get(
            f"{found[1]}/v1/programs/sample/members/ada",
            headers={"authorization": f"Bearer {key}"},
            verify=ssl.create_default_context(cafile=made.authority),
            trust_env=False,
        )

    assert answer.status_code == 200, answer.text
    # Every part of the profile comes from another service.
    assert {"account", "membership", "audiences"} <= set(answer.json())
