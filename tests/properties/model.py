"""A reference model of the ledger: small, slow and obviously right.

It was written from the contract alone and shares no code with the services. A refused command is
undone by forgetting a copy. What is tested against it speaks the same shapes: a `Command` goes in,
an `Answer` or a `Refused` comes out.
"""

from copy import deepcopy
from dataclasses import replace
from datetime import datetime
from decimal import ROUND_DOWN, Decimal

from tests.properties.model_book import Book
from tests.properties.model_shapes import (
    Account,
    Adjust,
    Answer,
    Command,
    Count,
    Earn,
    Entry,
    Op,
    Redeem,
    Refused,
    Window,
)

MINOR_DIGITS = {"USD": 2, "EUR": 2, "JPY": 0, "KWD": 3}


class Program(Book):
    """A sandbox program: what it answers to commands."""

    def do(self, command: Command) -> Answer:
        """Applies a command or raises `Refused`; a refused or rehearsed command leaves no trace."""
        if known := self._known(command):
            return known
        before = self.accounts.get(command.member)
        working = deepcopy(before) or self._newcomer(command)
        answer = self._apply(working, command)
        self._settle(working)
        if not command.validate_only:
            working.seen[command.request_id] = (command.canonical(), answer)
            self.accounts[command.member] = working
        return answer

    def _known(self, command: Command) -> Answer | None:
        account = self.accounts.get(command.member)
        if account is None or command.request_id not in account.seen:
            return None
        canonical, answer = account.seen[command.request_id]
        if canonical != command.canonical():
            raise Refused("REQUEST_ID_REUSED", request_id=command.request_id)
        return replace(answer, replayed=True)

    def _newcomer(self, command: Command) -> Account:
        first = command.ops[0] if command.ops else None
        enrols = isinstance(first, Earn | Count) or (isinstance(first, Adjust) and first.points > 0)
        if command.ops and not (self.settings.auto_enrol and enrols):
            raise Refused("MEMBER_NOT_FOUND", member=command.member)
        return Account(command.member, command.effective_time or self.now)

    def _apply(self, account: Account, command: Command) -> Answer:
        self._check_preconditions(account, command)
        effective = command.effective_time or self.now
        if effective > self.now:
            raise Refused("EFFECTIVE_TIME_IN_FUTURE")
        if not command.ops and account.entries:
            raise Refused("MEMBER_EXISTS", member=command.member)
        if not command.ops:
            self._check_earning_time(effective)
        first = len(account.entries)
        if not account.entries:
            account.version = 0
            self._enter(account, Entry(0, "ENROLLED", effective, command.request_id))
        value = None
        for index, op in enumerate(command.ops):
            try:
                value = self._operate(account, op, effective, command.request_id)
            except Refused as refused:
                if not command.single:
                    refused.metadata["operation"] = str(index)
                raise
        account.version += 1
        own = account.entries[first:]
        for entry in own:
            entry.reference = command.reference
        return Answer(tuple(deepcopy(own)), account.version, effective, value)

    def _check_preconditions(self, account: Account, command: Command) -> None:
        expected = command.expected_version
        if expected is not None and expected != account.version:
            raise Refused(
                "PRECONDITION_CHANGED", version=account.version, expected_version=expected
            )
        for window, value in command.expect:
            actual = self.counter(account, window)
            if actual != value:
                raise Refused(
                    "PRECONDITION_CHANGED", counter=window.counter, expected=value, actual=actual
                )

    def _operate(
        self, account: Account, op: Op, effective: datetime, request_id: str
    ) -> Decimal | None:
        entry = Entry(0, "", effective, request_id)
        if isinstance(op, Count):
            self._check_earning_time(effective)
            if op.counter not in self.settings.counters:
                raise Refused("COUNTER_NOT_FOUND", counter=op.counter)
            entry.kind, entry.counter, entry.counter_change = "COUNTED", op.counter, op.value
            self._enter(account, entry)
            return None
        if isinstance(op, Earn):
            self._check_earning_time(effective)
        until = self.settings.redeem_until
        if isinstance(op, Redeem) and until is not None and effective >= until:
            raise Refused("PROGRAM_INACTIVE")
        entry.currency = op.currency or self.settings.currencies[0]
        if entry.currency not in self.settings.currencies:
            raise Refused("CURRENCY_NOT_FOUND", currency=entry.currency)
        if isinstance(op, Earn):
            self._earn(account, op, entry)
        elif isinstance(op, Redeem):
            return self._redeem(account, op, entry)
        elif op.points > 0:
            self._credit(account, op, entry)
        else:
            self._debit(account, op, entry)
        return None

    def _check_earning_time(self, effective: datetime) -> None:
        start, end = self.settings.start, self.settings.end
        if (start and effective < start) or (end and effective >= end):
            raise Refused("PROGRAM_INACTIVE")

    def _earn(self, account: Account, op: Earn, entry: Entry) -> None:
        strategy = self._strategy(op.expiry, entry.currency)
        left = entry.requested = op.points
        for name, room in self._rooms(account, entry):
            taken = max(0, left - max(0, room))
            if taken:
                entry.forfeits += ((name, taken),)
            left -= taken
        entry.kind, entry.points = "EARNED", left
        self._be_active(account, entry.effective_time)
        self._make_lot(account, entry, strategy, op.mature_time)

    def _be_active(self, account: Account, time: datetime) -> None:
        account.last_activity = max(account.last_activity or time, time)

    def _rooms(self, account: Account, entry: Entry) -> list[tuple[str, int]]:
        """How much each limit leaves, in the order in which they cut."""
        limits = self.limits(entry.currency)
        name = f"points_earned:{entry.currency}"
        today = self.counter(account, Window(name, "DAY", time=entry.effective_time))
        month = self.counter(account, Window(name, "MONTH", time=entry.effective_time))
        balance = self.available(account, entry.currency) + self.pending(account, entry.currency)
        rooms = (
            ("DAILY_CAP", limits.daily_cap, today),
            ("MONTHLY_CAP", limits.monthly_cap, month),
            ("MAXIMUM_BALANCE", limits.maximum_balance, balance),
        )
        return [(limit, most - used) for limit, most, used in rooms if most is not None]

    def _redeem(self, account: Account, op: Redeem, entry: Entry) -> Decimal | None:
        settings = self.settings
        spendable = self._spendable(account, entry.currency)
        if spendable < settings.minimum_balance:
            raise self._short("BELOW_MINIMUM_BALANCE", spendable, settings.minimum_balance)
        if op.points % settings.step:
            raise Refused("NOT_A_MULTIPLE_OF_STEP", step=settings.step)
        taken = op.points
        if taken > spendable and op.allow_partial:
            taken = spendable - spendable % settings.step
        if taken > spendable or taken == 0:
            raise self._short("INSUFFICIENT_POINTS", spendable, op.points)
        entry.kind, entry.requested = "REDEEMED", op.points
        # Redeeming is activity: idle lots live on before it is decided which expire first.
        self._be_active(account, entry.effective_time)
        self._draw(account, entry, taken)
        if not settings.rate:
            return None
        unit = Decimal(1).scaleb(-MINOR_DIGITS[settings.money])
        return (taken * Decimal(settings.rate)).quantize(unit, rounding=ROUND_DOWN)

    def _credit(self, account: Account, op: Adjust, entry: Entry) -> None:
        strategy = self._strategy(op.expiry, entry.currency)
        balance = self.available(account, entry.currency) + self.pending(account, entry.currency)
        most = self.limits(entry.currency).maximum_balance
        if most is not None and balance + op.points > most:
            raise Refused("LIMIT_REACHED", limit_name="points.maximum_balance", limit=most)
        entry.kind, entry.points, entry.reason = "ADJUSTED_IN", op.points, op.reason
        entry.requested = op.points
        self._make_lot(account, entry, strategy, None)

    def _debit(self, account: Account, op: Adjust, entry: Entry) -> None:
        spendable = self._spendable(account, entry.currency)
        taken = min(-op.points, spendable) if op.allow_partial else -op.points
        if taken > spendable or taken == 0:
            raise self._short("INSUFFICIENT_POINTS", spendable, -op.points)
        entry.kind, entry.requested, entry.reason = "ADJUSTED_OUT", -op.points, op.reason
        self._draw(account, entry, taken)

    def _short(self, reason: str, available: int, required: int) -> Refused:
        short = required - available
        return Refused(reason, available=available, required=required, shortfall=short)
