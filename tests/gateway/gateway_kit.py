"""A ledger that answers what a test tells it to, and the files of a gateway before it."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from google.protobuf.descriptor import FileDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from chassis.server import Server, build_server
from loyalty.ledger.v1 import (
    account_pb2,
    account_pb2_grpc,
    ledger_pb2,
    ledger_pb2_grpc,
    program_pb2,
    program_pb2_grpc,
)
from services.gateway.settings import GatewaySettings
from services.ledger.rpc.scopes import SCOPES
from testkit import keys
from testkit.servers import settings as server_settings

ADMIN = "admin-key"
READER = "reader-key"
EVERYTHING = [
    "changes:read",
    "ledger:read",
    "ledger:write",
    "members:read",
    "members:write",
    "platform",
    "programs:read",
    "programs:write",
]
Answer = Callable[[Any, Any], Any]


class FakeLedger:
    """The ledger's services behind the real chain; every method answers an empty message.

    `answers` replaces methods by name; `seen` has every request and the metadata it came with.
    """

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self.seen: list[tuple[str, Message, dict[str, Any]]] = []
        self.server: Server | None = None
        self.port = 0

    async def start(self, port: int = 0) -> None:
        """Serve on a port."""
        self.server = build_server(
            name="ledger",
            servicers=[
                self._servicer(ledger_pb2.DESCRIPTOR, ledger_pb2_grpc, "LedgerService"),
                self._servicer(account_pb2.DESCRIPTOR, account_pb2_grpc, "AccountService"),
                self._servicer(program_pb2.DESCRIPTOR, program_pb2_grpc, "ProgramService"),
            ],
            scopes=SCOPES,
            verifier=keys.verifier(),
            settings=server_settings(),
            port=port,
        )
        self.port = await self.server.start()

    async def stop(self) -> None:
        """Serve no more."""
        if self.server is not None:
            await self.server.stop()
            self.server = None

    @property
    def last(self) -> Any:
        """The latest request."""
        return self.seen[-1][1]

    def _servicer(self, file: FileDescriptor, stubs: Any, service: str) -> tuple[Any, Any, str]:
        methods = {
            method.name: self._method(method.name, GetMessageClass(method.output_type))
            for method in file.services_by_name[service].methods
            if not method.server_streaming
        }
        base = getattr(stubs, f"{service}Servicer")
        return (
            getattr(stubs, f"add_{service}Servicer_to_server"),
            type(f"Fake{service}", (base,), methods)(),
            f"loyalty.ledger.v1.{service}",
        )

    def _method(self, name: str, answer: type[Message]) -> Any:
        async def method(_self: Any, request: Message, context: Any) -> Message:
            self.seen.append((name, request, dict(context.invocation_metadata())))
            given = self.answers.get(name)
            if given is None:
                return answer()
            result = given(request, context)
            if isinstance(result, Message):
                return result
            awaited: Message = await result
            return awaited

        return method


def write_keys(folder: Path, credentials: dict[str, tuple[str, list[str]]]) -> None:
    """Write a credentials file: keys in the clear here, hashed there."""
    rows = {
        hashlib.sha256(key.encode()).hexdigest(): {
            "organization": organization,
            "scopes": scopes,
            "actor": key,
        }
        for key, (organization, scopes) in credentials.items()
    }
    made = folder / "credentials.new"
    made.write_text(json.dumps(rows))
    made.replace(folder / "credentials.json")


def gateway_settings(folder: Path, ledger_port: int, **changes: Any) -> GatewaySettings:
    """Settings of a gateway whose files are in a folder."""
    private, public = keys.key_pair()
    (folder / "signing.json").write_text(json.dumps(private))
    (folder / "jwks.json").write_text(json.dumps(public))
    write_keys(folder, {ADMIN: ("acme", EVERYTHING), READER: ("acme", ["ledger:read"])})
    return GatewaySettings(
        **{
            "host": "127.0.0.1",
            "http_port": 0,
            "gateway_port": 0,
            "ledger_address": f"127.0.0.1:{ledger_port}",
            "jwks_path": folder / "jwks.json",
            "signing_path": folder / "signing.json",
            "credentials_path": folder / "credentials.json",
            "drain_seconds": 3.0,
            **changes,
        }
    )
