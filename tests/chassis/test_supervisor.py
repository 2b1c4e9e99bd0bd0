"""The parts of the supervisor: ports, pauses, the home."""

import asyncio
import hashlib
import json
import signal
import socket
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import Field

from chassis.server import build_server
from chassis.settings import ServiceSettings, WrongSettings, read_settings
from chassis.supervise import Home, Service, SuiteError, reachable_host, read_certificates
from chassis.supervise.process import Backoff, serving
from chassis.supervise.service import check_settings, choose_ports
from chassis.supervise.signals import Signals
from testkit import keys, servers
from tests.chassis.certificates import Certificates, certificates

LEDGER = Service("ledger", ("true",), {"LOYALTY_LEDGER_PORT": 0})
GATEWAY = Service("gateway", ("true",), {"LOYALTY_GATEWAY_PORT": 0, "LOYALTY_HTTP_PORT": 0})


@pytest.fixture
def taken_port() -> Iterator[int]:
    """A port on which somebody else listens."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


def test_zero_takes_free_ports_that_differ() -> None:
    ports = choose_ports((LEDGER, GATEWAY), {}, patience_s=0)

    assert all(ports.values())
    assert set(ports) == {"LOYALTY_LEDGER_PORT", "LOYALTY_GATEWAY_PORT", "LOYALTY_HTTP_PORT"}


def test_a_taken_port_is_named_with_its_variable(taken_port: int) -> None:
    with pytest.raises(SuiteError, match=rf"port {taken_port} is taken .* LOYALTY_HTTP_PORT"):
        choose_ports((GATEWAY,), {"LOYALTY_HTTP_PORT": str(taken_port)}, patience_s=0)


def test_a_port_that_is_just_being_let_go_is_waited_for() -> None:
    other = socket.socket()
    other.bind(("127.0.0.1", 0))
    other.listen()
    port = other.getsockname()[1]
    begin = time.monotonic()
    with pytest.raises(SuiteError, match="is taken"):
        choose_ports((LEDGER,), {"LOYALTY_LEDGER_PORT": str(port)}, patience_s=0.3)
    waited = time.monotonic() - begin
    other.close()

    assert 0.25 < waited < 5
    assert choose_ports((LEDGER,), {"LOYALTY_LEDGER_PORT": str(port)}, patience_s=0)


@pytest.mark.parametrize(
    "text, message",
    [
        ("http", "'http', and a port is a number"),
        ("-1", "'-1', and a port is a number"),
        ("65536", "'65536', and a port is a number"),
        ("٣", "and a port is a number"),
    ],
)
def test_what_is_no_port_is_refused_by_name(text: str, message: str) -> None:
    with pytest.raises(SuiteError, match="LOYALTY_LEDGER_PORT is ") as refused:
        choose_ports((LEDGER,), {"LOYALTY_LEDGER_PORT": text}, patience_s=0)

    assert message in str(refused.value)


def test_one_port_for_two_things_is_refused() -> None:
    ports = choose_ports((LEDGER,), {}, patience_s=0)
    same = str(ports["LOYALTY_LEDGER_PORT"])

    with pytest.raises(SuiteError, match="LOYALTY_HTTP_PORT and LOYALTY_LEDGER_PORT are both"):
        choose_ports(
            (LEDGER, GATEWAY),
            {"LOYALTY_LEDGER_PORT": same, "LOYALTY_HTTP_PORT": same},
            patience_s=0,
        )


class LedgerLike(ServiceSettings):
    """Settings of a service with a database, whose address it is given."""

    ledger_dsn: str
    ledger_lanes: int = Field(default=2, ge=1, le=64)


TALKING = Service("ledger", ("true",), {"LOYALTY_LEDGER_PORT": 0}, settings=LedgerLike)
WRONG = {
    "a level that is none": (
        {"LOYALTY_LOG_LEVEL": "LOUD"},
        "LOYALTY_LOG_LEVEL is 'LOUD': input should be 'DEBUG', 'INFO', 'WARNING' or 'ERROR'",
    ),
    "a number that is none": (
        {"LOYALTY_LEDGER_LANES": "two"},
        "LOYALTY_LEDGER_LANES is 'two': input should be a valid integer",
    ),
    "two at once": (
        {"LOYALTY_LEDGER_LANES": "0", "LOYALTY_MAX_STREAMS": "0"},
        "LOYALTY_LEDGER_LANES is '0': input should be greater than or equal to 1",
    ),
    "half of the certificates": (
        {"LOYALTY_TLS_KEY_PATH": "key.pem"},
        "LOYALTY_TLS_CERTIFICATE_PATH, LOYALTY_TLS_KEY_PATH and LOYALTY_TLS_CA_PATH come together",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_setting_is_told_by_its_variable_once(case: str) -> None:
    environment, sentence = WRONG[case]
    with pytest.raises(SuiteError) as refused:
        check_settings((TALKING, TALKING), environment)

    assert sentence in str(refused.value)
    assert str(refused.value).count("; ") == len(environment) - 1


def test_settings_that_fit_are_not_refused_and_what_a_suite_adds_may_be_missing() -> None:
    check_settings((TALKING, LEDGER), {"LOYALTY_LOG_LEVEL": "DEBUG", "LOYALTY_OTHER": "LOUD"})


def test_what_is_missing_is_told_where_a_service_reads_its_settings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("LOYALTY_LEDGER_DSN", raising=False)
    with pytest.raises(WrongSettings, match=r"^LOYALTY_LEDGER_DSN is not set$"):
        read_settings(LedgerLike)


def tls(made: Certificates) -> dict[str, str]:
    return {
        "LOYALTY_TLS_CERTIFICATE_PATH": str(made.certificate),
        "LOYALTY_TLS_KEY_PATH": str(made.key),
        "LOYALTY_TLS_CA_PATH": str(made.authority),
    }


def test_certificates_with_which_services_reach_each_other_are_taken(tmp_path: Path) -> None:
    ours = certificates(tmp_path / "ours")
    found = read_certificates(tls(ours), "localhost")

    assert found is not None
    assert (found.chain, found.key, found.authority) == (
        ours.certificate,
        ours.key,
        ours.authority,
    )
    assert read_certificates({}, "localhost") is None


def test_certificates_with_which_no_service_would_reach_another_are_refused(
    tmp_path: Path,
) -> None:
    ours, others = certificates(tmp_path / "ours"), certificates(tmp_path / "others")
    cases = {
        "cannot call each other at 10.1.2.3: .*10.1.2.3": (tls(ours), "10.1.2.3"),
        "LOYALTY_TLS_CA_PATH: .*none.pem cannot be read": (
            {**tls(ours), "LOYALTY_TLS_CA_PATH": str(tmp_path / "none.pem")},
            "localhost",
        ),
        "cannot call each other at localhost: KEY_VALUES_MISMATCH": (
            {**tls(ours), "LOYALTY_TLS_KEY_PATH": str(others.key)},
            "localhost",
        ),
        "cannot call each other at localhost: unable to get": (
            {**tls(ours), "LOYALTY_TLS_CA_PATH": str(others.authority)},
            "localhost",
        ),
    }
    for sentence, (environment, host) in cases.items():
        with pytest.raises(SuiteError, match=sentence):
            read_certificates(environment, host)


async def test_the_health_of_a_service_with_tls_is_asked_with_the_suites_certificate(
    tmp_path: Path,
) -> None:
    found = read_certificates(tls(certificates(tmp_path / "ours")), "localhost")
    assert found is not None
    server = build_server(
        name="test",
        servicers=[],
        scopes={},
        verifier=keys.verifier(),
        settings=servers.settings(
            tls_certificate_path=found.chain, tls_key_path=found.key, tls_ca_path=found.authority
        ),
    )
    async with servers.running(server) as port:
        shown = await asyncio.to_thread(serving, f"localhost:{port}", found)
        plain = await asyncio.to_thread(serving, f"localhost:{port}", None)

    assert (shown, plain) == (True, False)


def test_pauses_double_to_a_bound_and_are_forgotten_after_a_good_while() -> None:
    backoff = Backoff(first_s=0.1, most_s=1.0, forget_s=30)
    pauses = [backoff.failed(1.0) for _ in range(6)]

    assert pauses == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]
    assert backoff.failed(31.0) == 0.1


def test_a_home_is_held_by_one_and_told_from_one_that_was_killed(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    with home.held() as killed:
        home.write_running({"supervisor": 1}, {})
        with pytest.raises(SuiteError, match="another suite runs in"), home.held():
            pass
    with home.held() as killed_before:
        home.forget_running()
    with home.held() as killed_after:
        pass

    assert (killed, killed_before, killed_after) == (False, True, False)


def test_a_home_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with (
        pytest.raises(SuiteError, match=r"cannot be used .* set LOYALTY_HOME"),
        Home(tmp_path / "file" / "home").held(),
    ):
        pass


def test_keys_and_credentials_are_made_once_private_and_hashed(tmp_path: Path) -> None:
    home = Home(tmp_path)
    with home.held():
        key = home.ensure_keys()
        home.ensure_admin("demo", {"ledger:read"})
        admin_key = home.admin_key.read_text().strip()
        before = home.credentials.read_text()
        home.ensure_admin("demo", {"ledger:read"})

    assert home.ensure_keys() == key
    assert home.credentials.read_text() == before
    assert admin_key not in before
    digest = hashlib.sha256(admin_key.encode()).hexdigest()
    assert json.loads(before) == {
        digest: {"organization": "demo", "scopes": ["ledger:read"], "actor": "admin"}
    }
    private = (home.admin_key, home.signing, home.credentials)
    assert {stat.S_IMODE(path.stat().st_mode) for path in private} == {0o600}
    assert "d" not in json.loads(home.jwks.read_text())["keys"][0]


def test_a_lost_administrators_key_is_replaced_and_other_credentials_stay(tmp_path: Path) -> None:
    home = Home(tmp_path)
    till = {"organization": "demo", "scopes": ["ledger:write"], "actor": "till-7"}
    home.credentials.write_text(json.dumps({"ab" * 32: till}))
    home.ensure_admin("demo", {"ledger:read"})
    lost = set(json.loads(home.credentials.read_text()))
    home.admin_key.unlink()
    home.ensure_admin("demo", {"ledger:read"})
    kept = set(json.loads(home.credentials.read_text()))

    assert "ab" * 32 in kept
    assert len(kept) == 2
    assert len(kept & lost) == 1


@pytest.mark.parametrize("name", ["keys/signing.json", "credentials.json"])
@pytest.mark.parametrize("text", ["garbage", "[]", '{"half": '])
def test_a_file_that_was_spoilt_is_named_in_one_sentence(
    tmp_path: Path, name: str, text: str
) -> None:
    home = Home(tmp_path)
    with home.held():
        home.ensure_keys()
        home.ensure_admin("demo", ["ledger:read"])
        (tmp_path / name).write_text(text)

        def prepare() -> None:
            home.ensure_keys()
            home.ensure_admin("demo", ["ledger:read"])

        with pytest.raises(SuiteError, match=f"{name} is not what was written there"):
            prepare()


def test_a_signal_that_came_early_is_not_missed() -> None:
    with Signals() as signals:
        # To this thread: the test process has others, which hold nothing back.
        signal.pthread_kill(threading.get_ident(), signal.SIGTERM)

        assert signals.wait(5)
        assert not Signals().wait(0)


@pytest.mark.parametrize(
    "host, reached",
    [
        ("", "127.0.0.1"),
        ("0.0.0.0", "127.0.0.1"),
        ("::", "[::1]"),
        ("::1", "[::1]"),
        ("10.1.2.3", "10.1.2.3"),
    ],
)
def test_services_are_reached_where_they_listen(host: str, reached: str) -> None:
    assert reachable_host({"LOYALTY_HOST": host}) == reached
