"""What an unexpected exception means: a dependency that is down, or a fault of ours."""

import asyncpg
import sqlalchemy.exc

_DATABASE_GONE: tuple[type[BaseException], ...] = (
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.QueryCanceledError,
    # What asyncpg says of a connection that died in the middle of an exchange.
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    sqlalchemy.exc.TimeoutError,
)
_NETWORK_GONE: tuple[type[BaseException], ...] = (ConnectionError, TimeoutError)


def dependency_of(error: BaseException) -> str | None:
    """The dependency whose absence an exception shows; None where the fault is our own."""
    if isinstance(error, sqlalchemy.exc.DBAPIError):
        gone = error.connection_invalidated or isinstance(error.orig, _NETWORK_GONE)
        cause = error.orig.__cause__ if error.orig is not None else None
        return "database" if gone or isinstance(cause, _DATABASE_GONE) else None
    if isinstance(error, _DATABASE_GONE):
        return "database"
    return "a dependency" if isinstance(error, _NETWORK_GONE) else None
