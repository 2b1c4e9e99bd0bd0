"""How identifiers are hashed: by the key of the database, which is read once."""

from chassis.database import ACQUIRE_TIMEOUT_S
from services.ledger.domain.identifiers import Hashing
from services.ledger.operations.ledger_context import LedgerContext
from services.ledger.store import identifiers


async def hashing_of(context: LedgerContext, organization: str) -> Hashing:
    """How an organization's identifiers are hashed."""
    environment = context.environment
    if not environment.identifier_key:
        async with context.reads.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
            environment.identifier_key = await identifiers.read_key(connection)
    return Hashing(environment.identifier_key, environment.buckets, organization)
