"""What a supervisor must know of a service, and the ports that it takes."""

import errno
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from chassis.settings import ServiceSettings, wrong_settings
from chassis.supervise.errors import SuiteError

HOST_VARIABLE = "LOYALTY_HOST"
DEFAULT_HOST = "127.0.0.1"
PORT_PAUSE_S = 0.1


@dataclass(frozen=True)
class Service:
    """One service of a suite, started as a process.

    `ports` are its environment variables for ports with their defaults; the first one answers
    `grpc.health.v1`. A service with `migrations` has a database, whose address it is given as
    `LOYALTY_<NAME>_DSN`; one that stands there already is used as it is. `settings` are what it
    reads from its environment, looked at before anything starts.
    """

    name: str
    command: Sequence[str]
    ports: Mapping[str, int]
    migrations: Path | None = None
    settings: type[ServiceSettings] | None = None

    @property
    def address_variable(self) -> str:
        """The variable that tells the other services where it is."""
        return f"LOYALTY_{self.name.upper()}_ADDRESS"

    @property
    def health_variable(self) -> str:
        """The variable of the port that answers for the service's health."""
        return next(iter(self.ports))

    @property
    def dsn_variable(self) -> str:
        """The variable with the address under which the service works."""
        return f"LOYALTY_{self.name.upper()}_DSN"

    @property
    def migration_dsn_variable(self) -> str:
        """The variable with the address under which its tables are made."""
        return f"LOYALTY_{self.name.upper()}_MIGRATION_DSN"


def reachable_host(environment: Mapping[str, str]) -> str:
    """Answer under which name this machine reaches what its services listen on."""
    host = environment.get(HOST_VARIABLE) or DEFAULT_HOST
    host = {"0.0.0.0": DEFAULT_HOST, "::": "::1"}.get(host, host)  # noqa: S104 - not bound here
    return f"[{host}]" if ":" in host else host


def check_settings(services: Sequence[Service], environment: Mapping[str, str]) -> None:
    """Raise SuiteError with every setting that some service would not start with."""
    wrong: dict[str, None] = {}
    for service in services:
        if service.settings is not None:
            wrong |= dict.fromkeys(wrong_settings(service.settings, environment))
    if wrong:
        raise SuiteError("; ".join(wrong))


def choose_ports(
    services: Sequence[Service], environment: Mapping[str, str], *, patience_s: float
) -> dict[str, int]:
    """Answer each variable's port, having seen that all of them are free.

    0 takes a free one. `patience_s` is how long a port may still be held by something that is just
    ending. Raises SuiteError, naming port and variable.
    """
    chosen: dict[str, int] = {}
    variables = [item for service in services for item in service.ports.items()]
    host = environment.get(HOST_VARIABLE) or DEFAULT_HOST
    deadline = time.monotonic() + patience_s
    for variable, default in variables:
        port = _read_port(variable, environment.get(variable) or str(default))
        for other, taken in chosen.items():
            if port == taken != 0:
                raise SuiteError(f"{variable} and {other} are both {port}: change one of them")
        chosen[variable] = _take(variable, host, port, lambda: time.monotonic() < deadline)
    return chosen


def _read_port(variable: str, text: str) -> int:
    if text.isascii() and text.isdigit() and int(text) <= 65535:
        return int(text)
    raise SuiteError(f"{variable} is {text!r}, and a port is a number from 0 to 65535")


def _take(variable: str, host: str, port: int, may_wait: Callable[[], bool]) -> int:
    while True:
        try:
            return _bind(host, port)
        except OSError as error:
            if error.errno == errno.EADDRINUSE and may_wait():
                time.sleep(PORT_PAUSE_S)
                continue
            if error.errno == errno.EADDRINUSE:
                raise SuiteError(
                    f"port {port} is taken by another program: stop it, or set {variable}"
                ) from None
            raise SuiteError(
                f"port {port} of {variable} cannot be used on {host}: {error.strerror}"
            ) from None


def _bind(host: str, port: int) -> int:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        # As servers do it: what lingers of closed connections does not hold the port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))
        return int(probe.getsockname()[1])
