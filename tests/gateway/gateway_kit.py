"""Services that answer what a test tells them to, and the files of a gateway before them."""

import hashlib
import importlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pool
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from chassis.identity import MEMBER_SCOPE, SCOPES, SERVICE_SCOPE, Scope
from chassis.server import Server, build_server
from loyalty.common.v1 import clock_pb2_grpc
from services.audience.rpc.scopes import SCOPES as AUDIENCE_SCOPES
from services.gateway.http.catalogue import EXPOSED
from services.gateway.settings import GatewaySettings
from services.ledger.rpc.scopes import SCOPES as LEDGER_SCOPES
from services.rules.rpc.scopes import SCOPES as RULES_SCOPES
from services.tiers.rpc.scopes import SCOPES as TIERS_SCOPES
from testkit import keys
from testkit.servers import settings as server_settings

ADMIN = "admin-key"
READER = "reader-key"
EVERYTHING = sorted(SCOPES - {MEMBER_SCOPE, SERVICE_SCOPE})
Answer = Callable[[Any, Any], Any]

_SCOPES: Mapping[str, Mapping[str, Scope]] = {
    "ledger": LEDGER_SCOPES,
    "rules": RULES_SCOPES,
    "tiers": TIERS_SCOPES,
    "audience": AUDIENCE_SCOPES,
}
NAMES = tuple(_SCOPES)


def served_by(name: str) -> list[tuple[Any, str]]:
    """What a service serves: its stubs' modules and its services' names, and a sandbox's clock."""
    served = [(clock_pb2_grpc, "loyalty.common.v1.ClockService")]
    for described, target in EXPOSED:
        module = described.name.removesuffix(".proto").replace("/", ".") + "_pb2_grpc"
        if target == name:
            stubs = importlib.import_module(module)
            served += [(stubs, each.full_name) for each in described.services_by_name.values()]
    return served


class FakeService:
    """A service of the suite behind the real chain; every method answers an empty message.

    `answers` replaces methods by name; `seen` has every request and the metadata it came with.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.answers: dict[str, Answer] = {}
        self.seen: list[tuple[str, Message, dict[str, Any]]] = []
        self.server: Server | None = None
        self.port = 0

    async def start(self, port: int = 0) -> None:
        """Serve on a port."""
        self.server = build_server(
            name=self.name,
            servicers=[self._servicer(*each) for each in served_by(self.name)],
            scopes=_SCOPES[self.name],
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

    def reset(self) -> None:
        """Answer empty messages again, and forget what was asked."""
        self.answers.clear()
        self.seen.clear()

    @property
    def last(self) -> Any:
        """The latest request."""
        return self.seen[-1][1]

    def _servicer(self, stubs: Any, service: str) -> tuple[Any, Any, str]:
        described: ServiceDescriptor = descriptor_pool.Default().FindServiceByName(service)
        methods = {
            method.name: self._method(method.name, GetMessageClass(method.output_type))
            for method in described.methods
            if not method.server_streaming
        }
        base = getattr(stubs, f"{described.name}Servicer")
        return (
            getattr(stubs, f"add_{described.name}Servicer_to_server"),
            type(f"Fake{described.name}", (base,), methods)(),
            service,
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


class FakeSuite:
    """Fakes of all services but the gateway, by name."""

    def __init__(self) -> None:
        self.services = {name: FakeService(name) for name in NAMES}

    def __getitem__(self, name: str) -> FakeService:
        return self.services[name]

    async def start(self) -> None:
        """Serve all of them."""
        for service in self.services.values():
            await service.start()

    async def stop(self) -> None:
        """Serve none of them any more."""
        for service in self.services.values():
            await service.stop()

    @property
    def addresses(self) -> dict[str, str]:
        """The settings that lead a gateway to them."""
        return {
            f"{name}_address": f"127.0.0.1:{service.port}"
            for name, service in self.services.items()
        }


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


def gateway_settings(folder: Path, **changes: Any) -> GatewaySettings:
    """Settings of a gateway with its files in a folder; addresses not given lead nowhere."""
    private, public = keys.key_pair()
    (folder / "signing.json").write_text(json.dumps(private))
    (folder / "jwks.json").write_text(json.dumps(public))
    write_keys(folder, {ADMIN: ("acme", EVERYTHING), READER: ("acme", ["ledger:read"])})
    return GatewaySettings(
        **{
            "host": "127.0.0.1",
            "http_port": 0,
            "gateway_port": 0,
            **{f"{name}_address": "127.0.0.1:1" for name in NAMES},
            "jwks_path": folder / "jwks.json",
            "signing_path": folder / "signing.json",
            "credentials_path": folder / "credentials.json",
            "drain_seconds": 3.0,
            **changes,
        }
    )
