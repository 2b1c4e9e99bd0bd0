"""Runs the whole suite on one machine: `python -m services`.

Data, keys and logs live in `LOYALTY_HOME` (default `.loyalty`). With `--with-parent` it stops when
the process that started it is gone, however that ended.
"""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from chassis.children import stop_with_parent
from chassis.identity import MEMBER_SCOPE, SCOPES
from chassis.settings import ServiceSettings
from chassis.supervise import (
    Home,
    Service,
    SuiteError,
    Supervisor,
    reachable_host,
    read_certificates,
)
from services.audience.settings import AudienceSettings
from services.gateway.settings import GatewaySettings
from services.ledger.settings import LedgerSettings
from services.rules.settings import RulesSettings
from services.sample import ORGANIZATION, guide, seed
from services.tiers.settings import TiersSettings

ROOT = Path(__file__).resolve().parents[1]


def service(name: str, settings: type[ServiceSettings], **ports: int) -> Service:
    """Answer the service in the folder `name`; the first port answers for its health."""
    migrations = ROOT / "services" / name / "store" / "migrations"
    return Service(
        name=name,
        command=(sys.executable, "-m", f"services.{name}"),
        ports={f"LOYALTY_{port}_PORT": number for port, number in ports.items()},
        migrations=migrations if migrations.is_dir() else None,
        settings=settings,
    )


# In the order of starting: nobody starts before those that it calls.
SERVICES = (
    service("ledger", LedgerSettings, LEDGER=50051),
    service("tiers", TiersSettings, TIERS=50053),
    service("rules", RulesSettings, RULES=50052),
    service("audience", AudienceSettings, AUDIENCE=50054),
    service("gateway", GatewaySettings, GATEWAY=50050, HTTP=8080),
)


def environment_of(home: Home, environment: Mapping[str, str]) -> dict[str, str]:
    """What every service of the suite is told besides what stands in the environment."""
    path = os.pathsep.join((str(ROOT), str(ROOT / "libs"), environment.get("PYTHONPATH", "")))
    return {
        **environment,
        "PYTHONPATH": path.rstrip(os.pathsep),
        "LOYALTY_HOME": str(home.folder),
        "LOYALTY_JWKS_PATH": str(home.jwks),
        "LOYALTY_SIGNING_PATH": str(home.signing),
        "LOYALTY_SERVICE_KEY_PATH": str(home.signing),
        "LOYALTY_CREDENTIALS_PATH": str(home.credentials),
        "LOYALTY_CHECKPOINT_PATH": (
            environment.get("LOYALTY_CHECKPOINT_PATH") or str(home.checkpoints)
        ),
        "LOYALTY_CHECKPOINT_KEY_PATH": (
            environment.get("LOYALTY_CHECKPOINT_KEY_PATH") or str(home.checkpoint_key)
        ),
    }


def main() -> None:
    """Run until SIGTERM or Ctrl-C; exit with one sentence where the suite cannot run."""
    if "--with-parent" in sys.argv[1:]:
        stop_with_parent()
    home = Home(Path(os.environ.get("LOYALTY_HOME") or ".loyalty"))
    environment = environment_of(home, os.environ)

    def prepare() -> None:
        home.ensure_keys()
        home.ensure_admin(ORGANIZATION, SCOPES - {MEMBER_SCOPE})

    def ready(ports: Mapping[str, int]) -> None:
        host = reachable_host(environment)
        certificates = read_certificates(environment, host.strip("[]"))
        seed(host, ports, home.ensure_keys(), certificates)
        sys.stdout.write(guide(home, host, ports, certificates))
        sys.stdout.flush()

    suite = Supervisor(SERVICES, home, environment, directory=ROOT, prepare=prepare, ready=ready)
    try:
        suite.run()
    except SuiteError as error:
        sys.exit(f"loyalty: {error}")


if __name__ == "__main__":
    main()
