"""A suite of two dummies: `ledger` with a database, and `gateway` without one."""

import os
import sys
from pathlib import Path

from chassis.children import stop_with_parent
from chassis.supervise import Home, Service, SuiteError, Supervisor

DUMMY = str(Path(__file__).with_name("dummy_service.py"))
ROOT = Path(__file__).resolve().parents[2]


def dummy(name: str, variable: str, home: Home, migrations: Path | None = None) -> Service:
    journal = str(home.folder / "journal")
    command = (sys.executable, DUMMY, name, variable, journal)
    return Service(name, command, {variable: 0}, migrations)


def main(migrations: Path) -> None:
    home = Home(Path(os.environ["LOYALTY_HOME"]))
    suite = Supervisor(
        (
            dummy("ledger", "LOYALTY_LEDGER_PORT", home, migrations),
            dummy("gateway", "LOYALTY_GATEWAY_PORT", home),
        ),
        home,
        os.environ,
        directory=ROOT,
        prepare=home.ensure_keys,
        ready=lambda ports: print("ready", dict(ports), flush=True),
    )
    try:
        suite.run()
    except SuiteError as error:
        sys.exit(f"loyalty: {error}")


if __name__ == "__main__":
    if "--with-parent" in sys.argv:
        stop_with_parent()
    main(Path(sys.argv[1]))
