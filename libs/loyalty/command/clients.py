"""The clients that the command calls with, as the environment describes them.

They wait for no service that is down: whoever types a command wants to be told.
"""

import os

from loyalty.calls import Credential, RetryPolicy, credential_of, options_of
from loyalty.client import AsyncClient, Client

_AGAIN = RetryPolicy(wait_for_ready=False)
_ONCE = RetryPolicy(attempts=1, wait_for_ready=False)


def client_here(credential: Credential | None = None) -> Client:
    """A client of all services, with the environment's credential where none is given."""
    return Client(options_of(os.environ, _AGAIN), credential or credential_of(os.environ))


def async_client_here(*, once: bool = False) -> AsyncClient:
    """A client of all services for asyncio; `once`, where the caller itself sends again."""
    return AsyncClient(options_of(os.environ, _ONCE if once else _AGAIN), credential_of(os.environ))
