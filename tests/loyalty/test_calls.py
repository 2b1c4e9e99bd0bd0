"""What both clients share: where they call, with what, and what they will not do."""

import json
import uuid
from pathlib import Path

import grpc
import pytest

from loyalty.calls import (
    ApiKey,
    Options,
    RetryPolicy,
    Token,
    addresses_of,
    credential_of,
    new_request_id,
    options_of,
)


@pytest.mark.parametrize(
    "environ,address",
    [
        pytest.param({}, "127.0.0.1:50051", id="loopback by default"),
        pytest.param({"LOYALTY_LEDGER_PORT": "7001"}, "127.0.0.1:7001", id="another port"),
        pytest.param(
            {"LOYALTY_LEDGER_PORT": "7001", "LOYALTY_LEDGER_ADDRESS": "ledger:9"},
            "ledger:9",
            id="an address wins",
        ),
    ],
)
def test_addresses_come_from_the_environment(environ: dict[str, str], address: str) -> None:
    assert addresses_of(environ)["ledger"] == address


def test_the_credential_is_the_token_then_the_key_then_the_administrators(tmp_path: Path) -> None:
    (tmp_path / "admin.key").write_text("from-file\n")
    environ = {"LOYALTY_TOKEN": "jwt", "LOYALTY_API_KEY": "key", "LOYALTY_HOME": str(tmp_path)}

    assert credential_of(environ) == Token("jwt")
    del environ["LOYALTY_TOKEN"]
    assert credential_of(environ) == ApiKey("key")
    del environ["LOYALTY_API_KEY"]
    assert credential_of(environ) == ApiKey("from-file")
    with pytest.raises(ValueError, match="no credential"):
        credential_of({"LOYALTY_HOME": str(tmp_path / "nowhere")})


@pytest.mark.parametrize(
    "address,plaintext,tls,allowed",
    [
        ("127.0.0.1:1", False, False, True),
        ("[::1]:1", False, False, True),
        ("localhost:1", False, False, True),
        ("unix:/run/ledger", False, False, True),
        ("ledger:1", False, False, False),
        ("10.0.0.7:1", False, False, False),
        ("127.0.0.1.example:1", False, False, False),
        ("ledger:1", True, False, True),
        ("ledger:1", False, True, True),
    ],
)
def test_a_credential_leaves_the_machine_only_under_tls_or_when_asked_for(
    address: str, plaintext: bool, tls: bool, allowed: bool
) -> None:
    credentials = grpc.ssl_channel_credentials() if tls else None
    options = Options({"ledger": address}, plaintext=plaintext, tls=credentials)

    if allowed:
        assert options.target("ledger") == address
    else:
        with pytest.raises(ValueError, match="not on this machine"):
            options.target("ledger")


def test_plaintext_and_tls_are_asked_for_by_the_environment(tmp_path: Path) -> None:
    authority = tmp_path / "ca.pem"
    authority.write_bytes(b"")

    assert not options_of({}).plaintext
    assert options_of({"LOYALTY_PLAINTEXT": "1"}).plaintext
    assert options_of({}).tls is None
    assert options_of({"LOYALTY_TLS_CA_PATH": str(authority)}).tls is not None


def test_the_retry_policy_is_grpcs_service_config() -> None:
    (method,) = json.loads(RetryPolicy().service_config())["methodConfig"]

    assert method["name"] == [{}]
    assert method["retryPolicy"]["retryableStatusCodes"] == [
        "UNAVAILABLE",
        "RESOURCE_EXHAUSTED",
        "CANCELLED",
    ]
    assert "retryPolicy" not in RetryPolicy(attempts=1).service_config()


def test_request_ids_are_uuids_of_version_7_in_the_order_of_making() -> None:
    made = [uuid.UUID(new_request_id()) for _ in range(100)]

    assert {(one.version, one.variant) for one in made} == {(7, uuid.RFC_4122)}
    assert len(set(made)) == 100
    assert [one.int >> 80 for one in made] == sorted(one.int >> 80 for one in made)
