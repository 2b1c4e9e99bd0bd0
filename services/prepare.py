"""What is done once before services are deployed: `python -m services.prepare keys` (or `tables`).

* `keys [ORGANIZATION]` makes in `LOYALTY_HOME` the keys that tokens are signed with and the key of
  the organization's administrator (`demo`, if none), where they are not there; it prints where they
  are and never what they are.
* `tables` brings the tables of every service up to date whose `LOYALTY_<NAME>_DSN` and
  `LOYALTY_<NAME>_MIGRATION_DSN` are set, and gives the serving role its rights. Older processes go
  on serving meanwhile.

Both may be done again.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from chassis.identity import MEMBER_SCOPE, SCOPES
from chassis.migrations import migrate
from chassis.supervise import Home, SuiteError
from services.sample import ORGANIZATION

SERVICES = Path(__file__).parent
_USAGE = "usage: python -m services.prepare keys [ORGANIZATION] | tables"


def make_keys(environment: Mapping[str, str], organization: str = ORGANIZATION) -> list[str]:
    """Make what is missing of the keys; answers what to tell. `SuiteError` where it cannot be."""
    home = Home(Path(environment.get("LOYALTY_HOME") or ".loyalty"))
    # Held, so that two who are started at once do not make two keys.
    with home.held():
        home.ensure_keys()
        home.ensure_admin(organization, SCOPES - {MEMBER_SCOPE})
    return [f"keys are in {home.signing.parent}", f"the administrator's key is in {home.admin_key}"]


def make_tables(environment: Mapping[str, str]) -> list[str]:
    """Bring the tables up to date; answers what to tell. `SuiteError` where none are named."""
    told = []
    for folder in sorted(SERVICES.glob("*/store/migrations")):
        name = folder.parents[1].name
        dsn = environment.get(f"LOYALTY_{name.upper()}_DSN")
        if not dsn:
            continue
        migrate(environment.get(f"LOYALTY_{name.upper()}_MIGRATION_DSN") or dsn, folder, dsn)
        told.append(f"the tables of {name} are up to date")
    if not told:
        raise SuiteError("no LOYALTY_<NAME>_DSN says where a database is")
    return told


def prepare(arguments: Sequence[str], environment: Mapping[str, str]) -> list[str]:
    """Do what a command line says; answers what to tell. `SuiteError` where it cannot be done."""
    match arguments:
        case ["keys"]:
            return make_keys(environment)
        case ["keys", organization]:
            return make_keys(environment, organization)
        case ["tables"]:
            return make_tables(environment)
        case _:
            raise SuiteError(_USAGE)


def main() -> None:
    """Do what the command line says; exit with one sentence where it cannot be done."""
    try:
        sys.stdout.write("".join(f"{line}\n" for line in prepare(sys.argv[1:], os.environ)))
    except SuiteError as error:
        sys.exit(f"loyalty: {error}")


if __name__ == "__main__":
    main()
