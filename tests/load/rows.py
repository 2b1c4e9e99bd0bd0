"""What is measured, and what is compared with what."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

from tests.load.pgbench import FUNCTION, PLAIN


@dataclass(frozen=True)
class Measurement:
    """A load on a server. `target` is ledger or echo; the others are of `Load`.

    `half_of` names a measurement at half of whose rate this one's calls come at random.
    """

    name: str
    target: str
    method: str
    callers: int
    hot: str = ""
    zipf: bool = False
    half_of: str = ""


@dataclass(frozen=True)
class Script:
    """A load that pgbench makes. `hot`: all on one account."""

    name: str
    script: str
    hot: bool = False


EXPIRY, EXPIRY_OF_ONE = "expiry", "expiry of one"
SMALL, LARGE, AFTER_CHECKPOINT = "earn small", "earn large", "earn large after a checkpoint"

# In this order in every round, so that what is compared is measured one right after the other.
MEASUREMENTS: Sequence[Measurement | Script] = (
    Measurement("echo", "echo", "Earn", 128),
    Measurement("earn", "ledger", "Earn", 128),
    Measurement("earn half", "ledger", "Earn", 0, half_of="earn"),
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
    memory: int = 0


@dataclass(frozen=True)
class Row:
    """A figure that is promised: `value` of one measurement divided by that of another.

    `other_value` is the baseline's where it is another one. Without a baseline the figure stands
    for itself, and without a bound it is only told.
    """

    what: str
    measured: str
    baseline: str
    bound: float | None
    value: str = "rate"
    at_most: bool = False
    other_value: str = ""

    def measured_in(self, figures: dict[str, list[Figure]]) -> bool:
        """Whether all of it was measured."""
        return self.measured in figures and (not self.baseline or self.baseline in figures)

    def ratios(self, figures: dict[str, list[Figure]]) -> list[float]:
        """The ratio of each round."""
        values = [float(getattr(each, self.value)) for each in figures[self.measured]]
        if not self.baseline:
            return values
        other = self.other_value or self.value
        pairs = zip(values, figures[self.baseline], strict=True)
        return [value / max(1e-9, float(getattr(each, other))) for value, each in pairs]

    def kept(self, ratios: Sequence[float]) -> bool | None:
        """Whether the median keeps the bound; None without a bound."""
        if self.bound is None:
            return None
        middle = median(ratios)
        return middle <= self.bound if self.at_most else middle >= self.bound


@dataclass(frozen=True)
class Flat(Row):
    """That memory stays as it is: at the end of a measurement against its beginning."""

    def ratios(self, figures: dict[str, list[Figure]]) -> list[float]:
        """The one ratio that there is."""
        return [figures[self.measured][-1].memory / max(1, figures[self.measured][0].memory)]


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
    Row(
        "`Earn`, calls at random at half the peak rate, p99 against p50", "earn half", "earn half",
        10.0, "p99", at_most=True, other_value="p50",
    ),
    Row("Expiry, ten lots an account at one month's end, lots a second", EXPIRY, "", 20_000),
    Flat("Expiry, memory at the end against the beginning", EXPIRY, "", 1.1, at_most=True),
    Row("Expiry, one lot an account, lots a second", EXPIRY_OF_ONE, "", None),
    Row("`Earn` with 100 times as many entries stored", LARGE, SMALL, 0.85),
    Row("the same right after a checkpoint", AFTER_CHECKPOINT, SMALL, None),
)  # fmt: skip


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
    sizes: dict[str, str] = field(default_factory=dict)

    def rows(self) -> list[Row]:
        """The rows that this run has figures for."""
        return [row for row in ROWS if row.measured_in(self.figures)]
