"""The baselines in SQL, run by Postgres's own load generator."""

import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.load.stage import HERE, SERVING, SQL, Stage

CLIENTS = (4, 8, 16, 32)
_DONE = re.compile(r"number of transactions actually processed: (\d+)")
_RATE = re.compile(r"^tps = ([0-9.]+)", re.MULTILINE)


@dataclass(frozen=True)
class Baseline:
    """One way to do an earning in SQL, over `members` accounts."""

    script: str
    members: int

    def best_clients(self, stage: Stage, seconds: int) -> int:
        """The number of clients with which it is fastest here."""
        rates = {clients: self.run(stage, clients, seconds)[0] for clients in CLIENTS}
        return max(rates, key=rates.__getitem__)

    def run(self, stage: Stage, clients: int, seconds: int) -> tuple[float, int]:
        """Earnings a second, and how many there were; nothing where there is no time."""
        if not seconds:
            return 0.0, 0
        binaries: Path = stage.postgres._binaries
        command = [
            *(str(binaries / "pgbench"), "-n", "-M", "prepared", "-f", str(HERE / self.script)),
            *("-c", str(clients), "-j", str(min(2, clients)), "-T", str(seconds)),
            *("-D", f"members={self.members}", "-h", "127.0.0.1", "-p", str(stage.postgres.port)),
            *("-U", SERVING, SQL),
        ]
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run(
                command,
                env={"PGPASSWORD": stage.postgres.password(SERVING), "LC_ALL": "C"},
                cwd=folder,
                capture_output=True,
                text=True,
                timeout=seconds + 60,
                check=False,
            )
        rate, count = _RATE.search(done.stdout), _DONE.search(done.stdout)
        if done.returncode == 0 and count is not None and count.group(1) == "0":
            # A machine that is this busy did not even connect in time.
            return 0.0, 0
        if done.returncode != 0 or rate is None or count is None:
            raise RuntimeError(f"pgbench failed: {done.stdout[-1000:]}{done.stderr[-2000:]}")
        return float(rate.group(1)), int(count.group(1))


PLAIN, FUNCTION = "sql.pgbench", "function.pgbench"
