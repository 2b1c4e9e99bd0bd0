"""What every answer of a writing method has."""

import asyncio
from typing import Protocol, TypeVar

from chassis.call import remaining_seconds
from loyalty.ledger.v1 import resources_pb2
from services.ledger.operations.post import Written
from services.ledger.rpc import translate


class _Answer(Protocol):
    replayed: bool

    @property
    def posting(self) -> resources_pb2.Posting: ...

    @property
    def account(self) -> resources_pb2.Account: ...


_Message = TypeVar("_Message", bound=_Answer)


def deadline() -> float:
    """When this call's deadline passes, by the event loop's clock."""
    return asyncio.get_running_loop().time() + remaining_seconds()


def answer(message: _Message, written: Written, program: str, member: str) -> _Message:
    """Fill in what every answer of a writing method has."""
    assert written.view is not None
    translate.fill_posting(message.posting, written.posting, program, written.policy)
    message.replayed = written.replayed
    translate.fill_account(message.account, written.view, program, member, written.policy)
    return message
