"""Starts a suite, keeps it running, stops it in order."""

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from chassis.migrations import migrate
from chassis.postgres import EmbeddedPostgres, PostgresUnavailable
from chassis.supervise.errors import SuiteError
from chassis.supervise.home import Home
from chassis.supervise.process import Backoff, Process, serving
from chassis.supervise.service import Service, check_settings, choose_ports, reachable_host
from chassis.supervise.signals import Signals
from chassis.supervise.tls import Certificates, read_certificates

START_TIMEOUT_S = 60.0
START_FAILURES_MAX = 3
STOP_TIMEOUT_S = 30.0
POLL_S = 0.2
# How long the processes of a killed suite may still hold their ports.
ENDING_PATIENCE_S = 5.0


class _StopAskedError(Exception):
    """A signal asked for the end while the suite was starting."""


class Supervisor:
    """A suite of services in a home, with an embedded Postgres where a service brings no database.

    `services` are in the order of starting; they stop in the opposite one, Postgres last.
    `environment` is what the services inherit. `prepare()` is called when the home is held and
    before anything starts, `ready(ports)` once everything serves. `run` belongs in the main thread.
    """

    def __init__(
        self,
        services: Sequence[Service],
        home: Home,
        environment: Mapping[str, str],
        *,
        directory: Path,
        prepare: Callable[[], object],
        ready: Callable[[Mapping[str, int]], object],
        say: Callable[[str], None] | None = None,
    ) -> None:
        self._services = services
        self._home = home
        self._environment = dict(environment)
        self._directory = directory
        self._prepare = prepare
        self._ready = ready
        self._say = say or _say
        self._ports: dict[str, int] = {}
        self._certificates: Certificates | None = None
        self._postgres: EmbeddedPostgres | None = None
        self._postgres_backoff = Backoff()
        self._postgres_started = 0.0
        self._postgres_next_start = 0.0
        self._processes: list[Process] = []
        self._signals = Signals()

    def run(self) -> None:
        """Run until SIGTERM, SIGINT or SIGHUP; a second one ends what is still draining by force.

        Raises SuiteError where the suite cannot start; nothing is left running then.
        """
        with self._signals, self._home.held() as killed:
            self._ports = choose_ports(
                self._services,
                self._environment,
                patience_s=ENDING_PATIENCE_S if killed else 0.0,
            )
            check_settings(self._services, self._environment | self._port_texts())
            self._certificates = read_certificates(
                self._environment, reachable_host(self._environment).strip("[]")
            )
            try:
                self._start()
                self._watch()
            except _StopAskedError:
                self._say("stopping")
            finally:
                self._stop()

    def _start(self) -> None:
        self._record()
        self._prepare()
        self._start_postgres()
        for service in self._services:
            process = Process(
                service.name,
                service.command,
                self._environment_of(service),
                self._directory,
                self._home.log(service.name),
            )
            self._processes.append(process)
        for process in self._processes:
            process.start()
            self._record()
        for service, process in zip(self._services, self._processes, strict=True):
            self._wait_until_serving(service, process)
        self._ready(self._ports)

    def _start_postgres(self) -> None:
        """Start the embedded database where a service needs it, and bring all tables up to date."""
        own = [each for each in self._services if each.migrations is not None]
        embedded = [each for each in own if not self._environment.get(each.dsn_variable)]
        if embedded:
            self._postgres = EmbeddedPostgres(self._home.postgres)
            try:
                self._postgres.start()
                for service in embedded:
                    self._make_database(self._postgres, service)
            except PostgresUnavailable as error:
                raise SuiteError(str(error)) from None
            self._postgres_started = time.monotonic()
            self._record()
        for service in own:
            self._pause(0.0)
            self._migrate(service)

    def _make_database(self, postgres: EmbeddedPostgres, service: Service) -> None:
        serving_role, owner, database = _names(service)
        postgres.ensure_role(serving_role)
        postgres.ensure_role(owner)
        postgres.ensure_database(database, owner)
        postgres.execute(f"GRANT CONNECT ON DATABASE {database} TO {serving_role}")

    def _migrate(self, service: Service) -> None:
        assert service.migrations is not None
        dsn, migration_dsn = self._addresses(service)
        try:
            migrate(migration_dsn, service.migrations, dsn)
        except Exception as error:
            reason = str(error).partition("\n")[0]
            raise SuiteError(f"the tables of {service.name} cannot be made: {reason}") from error

    def _addresses(self, service: Service) -> tuple[str, str]:
        """Answer the addresses for serving and for migrating."""
        given = self._environment.get(service.dsn_variable)
        if given:
            return given, self._environment.get(service.migration_dsn_variable) or given
        assert self._postgres is not None
        serving_role, owner, database = _names(service)
        return self._postgres.dsn(database, serving_role), self._postgres.dsn(database, owner)

    def _environment_of(self, service: Service) -> dict[str, str]:
        """What a service is told: everything but the other services' databases.

        The migrating role's address stays here; the tables are there when the service starts.
        The others are where they listen, unless the environment says otherwise.
        """
        hidden = {
            variable
            for each in self._services
            for variable in (each.dsn_variable, each.migration_dsn_variable)
        }
        told = {key: value for key, value in self._environment.items() if key not in hidden}
        told |= self._port_texts()
        for each in self._services:
            told.setdefault(each.address_variable, self._address(each))
        if service.migrations is not None:
            told[service.dsn_variable] = self._addresses(service)[0]
        return told

    def _port_texts(self) -> dict[str, str]:
        return {variable: str(port) for variable, port in self._ports.items()}

    def _wait_until_serving(self, service: Service, process: Process) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not serving(self._address(service), self._certificates):
            if process.tend(self._say):
                self._record()
            if process.failures >= START_FAILURES_MAX or time.monotonic() >= deadline:
                raise SuiteError(
                    f"{service.name} does not start; {self._home.log(service.name)} ends with:\n"
                    f"{process.last_words()}"
                )
            self._pause(POLL_S / 2)

    def _address(self, service: Service) -> str:
        return f"{reachable_host(self._environment)}:{self._ports[service.health_variable]}"

    def _pause(self, seconds: float) -> None:
        if self._signals.wait(seconds):
            raise _StopAskedError

    def _watch(self) -> None:
        while True:
            self._pause(POLL_S)
            self._tend_postgres()
            started = [process.tend(self._say) for process in self._processes]
            if any(started):
                self._record()

    def _tend_postgres(self) -> None:
        postgres, now = self._postgres, time.monotonic()
        if postgres is None or postgres.running() or now < self._postgres_next_start:
            return
        pause = self._postgres_backoff.failed(now - self._postgres_started)
        self._postgres_next_start = now + pause
        self._say("postgres ended, starting it again")
        port = postgres.port
        try:
            postgres.restart()
        except PostgresUnavailable as error:
            self._say(str(error))
            return
        self._postgres_started = time.monotonic()
        if postgres.port != port:
            self._move_services()
        self._record()

    def _move_services(self) -> None:
        """The database's port was taken meanwhile: the services need its new address."""
        for service, process in zip(self._services, self._processes, strict=True):
            process.stop(STOP_TIMEOUT_S, self._signals.wait)
            process.environment = self._environment_of(service)
            process.start()

    def _record(self) -> None:
        processes = {"supervisor": os.getpid()}
        if self._postgres is not None and self._postgres.process is not None:
            processes["postgres"] = self._postgres.process.pid
        processes |= {each.name: each.pid for each in self._processes if each.pid is not None}
        self._home.write_running(processes, self._ports)

    def _stop(self) -> None:
        asked = self._signals.stops
        for process in reversed(self._processes):
            process.stop(STOP_TIMEOUT_S, lambda seconds: self._again(asked, seconds))
            self._say(f"{process.name} stopped")
        if self._postgres is not None:
            self._postgres.stop()
            self._say("postgres stopped")
        self._home.forget_running()

    def _again(self, asked: int, seconds: float) -> bool:
        """Whether the end was asked for once more."""
        self._signals.wait(seconds)
        return self._signals.stops > max(asked, 1)


def _names(service: Service) -> tuple[str, str, str]:
    """Answer the serving role, the owner of the tables, and the database."""
    name = f"loyalty_{service.name}"
    return name, f"{name}_owner", name


def _say(line: str) -> None:
    sys.stderr.write(f"loyalty: {line}\n")
    sys.stderr.flush()
