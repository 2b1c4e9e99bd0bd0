"""What is measured, and what is compared with what."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

from tests.load.pgbench import FUNCTION, PLAIN


@dataclass(frozen=True)
class Measurement:
    """A load on a server. `target` is ledger or echo; the others are of `Load`."""

    name: str
    target: str
    method: str
    callers: int
    hot: str = ""
    zipf: bool = False


@dataclass(frozen=True)
class Script:
    """A load that pgbench makes. `hot`: all on one account."""

    name: str
    script: str
    hot: bool = False


# In this order in every round, so that what is compared is measured one right after the other.
MEASUREMENTS: Sequence[Measurement | Script] = (
    Measurement("echo", "echo", "Earn", 128),
    Measurement("earn", "ledger", "Earn", 128),
    Measurement("mixed", "ledger", "Mixed", 128, zipf=True),
    Measurement("echo account", "echo", "GetAccount", 128),
    Measurement("account", "ledger", "GetAccount", 128),
    Script("sql", PLAIN),
    Measurement("batch", "ledger", "BatchPost", 8),
    Script("sql function", FUNCTION),
    Script("sql hot", PLAIN, hot=True),
    Measurement("batch hot", "ledger", "BatchPost", 8, hot="hot-batch"),
    Script("sql function hot", FUNCTION, hot=True),
    Measurement("unary hot", "ledger", "EarnRedeem", 64, hot="hot-unary"),
    Measurement("echo one", "echo", "Earn", 1),
    Measurement("earn one", "ledger", "Earn", 1),
)


@dataclass(frozen=True)
class Figure:
    """One measurement of one round. Rates a second, seconds, bytes; 0 where not measured."""

    rate: float
    p50: float = 0.0
    p99: float = 0.0
    server_cpu: float = 0.0
    postgres_cpu: float = 0.0
    wal_bytes: float = 0.0
    refused: int = 0


@dataclass(frozen=True)
class Row:
    """A figure that is promised: `value` of one measurement divided by that of another."""

    what: str
    measured: str
    baseline: str
    bound: float
    value: str = "rate"
    at_most: bool = False

    def measured_in(self, figures: dict[str, list[Figure]]) -> bool:
        """Whether both were measured."""
        return self.measured in figures and self.baseline in figures

    def ratios(self, figures: dict[str, list[Figure]]) -> list[float]:
        """The ratio of each round."""
        pairs = zip(figures[self.measured], figures[self.baseline], strict=True)
        return [getattr(one, self.value) / getattr(other, self.value) for one, other in pairs]

    def kept(self, ratios: Sequence[float]) -> bool:
        """Whether the median keeps the bound."""
        middle = median(ratios)
        return middle <= self.bound if self.at_most else middle >= self.bound


ROWS = (
    Row("`BatchPost` of 100, many accounts, against SQL", "batch", "sql", 3.0),
    Row("`BatchPost` of 100, many accounts, against SQL function", "batch", "sql function", 1.2),
    Row("`BatchPost` of 100, one account, against SQL hot", "batch hot", "sql hot", 10.0),
    Row("`Earn`, 128 callers, many accounts, against Echo", "earn", "echo", 0.6),
    Row("70 % `Earn`, 30 % `Redeem`, Zipf 1.0, 128 callers, against Echo", "mixed", "echo", 0.5),
    Row("`Earn`/`Redeem`, 64 callers, one account, against SQL hot", "unary hot", "sql hot", 2.0),
    Row("`Earn`/`Redeem`, 64 callers, one account, against many", "unary hot", "earn", 0.8),
    Row("`GetAccount`, 128 callers, against Echo", "account", "echo account", 0.6),
    Row("`Earn`, one caller, p50 against Echo's", "earn one", "echo one", 4.0, "p50", at_most=True),
)


@dataclass
class Outcome:
    """Everything that a run found out."""

    machine: dict[str, str]
    members: int
    seconds: float
    rounds: int
    figures: dict[str, list[Figure]] = field(default_factory=dict)
    clients: dict[str, int] = field(default_factory=dict)
    bytes_per_earning: float = 0.0

    def rows(self) -> list[Row]:
        """The rows that this run has figures for."""
        return [row for row in ROWS if row.measured_in(self.figures)]
