"""The echo: the ledger's messages on the ledger's server and chain, with answers made beforehand.

What it cannot do faster, no service on this server can: it is what the ledger's calls are compared
with. Its answers are ones that the ledger gave.
"""

import asyncio
import json
import os
import signal
from pathlib import Path
from typing import Any

import uvloop

from chassis import logs
from chassis.identity import TokenVerifier
from chassis.memory import spare_collections
from chassis.server import build_server
from chassis.settings import ServiceSettings
from loyalty.ledger.v1 import ledger_pb2, resources_pb2
from loyalty.ledger.v1.ledger_pb2_grpc import (
    LedgerServiceServicer,
    add_LedgerServiceServicer_to_server,
)
from services.ledger.rpc.scopes import SCOPES


class EchoServicer(LedgerServiceServicer):
    """Answers the same whatever it is asked."""

    def __init__(self, answers: dict[str, str]) -> None:
        self._earned = ledger_pb2.EarnResponse.FromString(bytes.fromhex(answers["Earn"]))
        self._account = resources_pb2.Account.FromString(bytes.fromhex(answers["GetAccount"]))

    async def Earn(self, request: ledger_pb2.EarnRequest, context: Any) -> ledger_pb2.EarnResponse:
        return self._earned

    async def GetAccount(
        self, request: ledger_pb2.GetAccountRequest, context: Any
    ) -> resources_pb2.Account:
        return self._account


async def main(answers: dict[str, str]) -> None:
    """Serve until SIGTERM."""
    settings = ServiceSettings()
    logs.configure(service="echo", level=settings.log_level, as_json=settings.log_json)
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    server = build_server(
        name="echo",
        servicers=[
            (
                add_LedgerServiceServicer_to_server,
                EchoServicer(answers),  # type: ignore[abstract]  # it has what is measured
                "loyalty.ledger.v1.LedgerService",
            )
        ],
        scopes=SCOPES,
        verifier=TokenVerifier(json.loads(settings.jwks_path.read_text())),
        settings=settings,
        port=int(os.environ["LOYALTY_ECHO_PORT"]),
    )
    await server.start()
    spare_collections()
    await stopping.wait()
    await server.stop()


if __name__ == "__main__":
    uvloop.run(main(json.loads(Path(os.environ["LOYALTY_ECHO_ANSWERS"]).read_text())))
