"""A reference model of the ledger: small, slow and obviously right.

It was written from the contract alone and shares no code with the services. A refused command is
undone by forgetting a copy. What is tested against it speaks the same shapes: a `Command` goes in,
an `Answer` or a `Refused` comes out.
"""

from dataclasses import replace
from datetime import datetime
from decimal import Decimal

from tests.properties.model_holds import LONGEST_HOLD
from tests.properties.model_shapes import (
    Account,
    ActivatePending,
    Adjust,
    Answer,
    CaptureHold,
    Command,
    Count,
    CreateHold,
    Earn,
    Entry,
    FreezeMember,
    Lone,
    Op,
    Redeem,
    Refused,
    ReleaseHold,
    ReversePosting,
    Settings,
    TransferPoints,
    UnfreezeMember,
    Window,
)
from tests.properties.model_time import billing_days, local_day
from tests.properties.model_transfers import Transfers

OF_CURRENCY = Earn | Redeem | Adjust | CreateHold | ActivatePending | TransferPoints


class Program(Transfers):
    """A sandbox program: what it answers to commands."""

    def __init__(self, settings: Settings, now: datetime) -> None:
        super().__init__(settings, now)
        # Every state of an account that commands left, for asking what was known.
        self.past: dict[str, list[tuple[datetime, Account]]] = {}

    def do(self, command: Command, *, settles: bool = True) -> Answer:
        """Applies a command or raises `Refused`; a refused or rehearsed command leaves no trace.

        Without `settles` the members are not told yet of what is to be told from now on: within a
        batch that is done once, at its end.
        """
        self._check_found(command)
        if known := self._known(command):
            return known
        before = self.accounts.get(command.member)
        working = {command.member: before.copy() if before else self._newcomer(command)}
        answer = self._apply(working, command)
        for account in working.values() if settles else ():
            self._settle(account)
        if not command.validate_only:
            working[command.member].seen[command.request_id] = (command.canonical(), answer)
            self.accounts |= working
            for member, account in working.items():
                self.past.setdefault(member, []).append((self.now, account))
        return answer

    def settle(self, member: str) -> None:
        """Does for a member what is due."""
        if member in self.accounts:
            self._settle(self.accounts[member])

    def _check_found(self, command: Command) -> None:
        """What names a hold or a posting is not found before anything else is asked."""
        op = command.ops[0] if command.ops else None
        account = self.accounts.get(command.member)
        if isinstance(op, CaptureHold | ReleaseHold):
            self.hold(account or Account(command.member, self.now), op.hold)
        if isinstance(op, ReversePosting) and (not account or op.posting not in account.seen):
            raise Refused("POSTING_NOT_FOUND")

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
        time = command.effective_time or self.now
        return Account(command.member, time, billing_day=command.billing_day)

    def _apply(self, working: dict[str, Account], command: Command) -> Answer:
        account = working[command.member]
        effective = command.effective_time or self.now
        self._check(account, command, effective)
        first = len(account.entries)
        if not account.entries:
            account.version = 0
            self._enter(account, Entry(0, "ENROLLED", effective, command.request_id))
        value, reversal, received = None, None, tuple[Entry, ...]()
        for index, op in enumerate(command.ops):
            entry = Entry(0, "", effective, command.request_id)
            try:
                if isinstance(op, ReversePosting):
                    entry.reason = op.reason
                    reversal = self._reverse(account, op, entry)
                elif isinstance(op, TransferPoints):
                    received = self._send(working, account, op, entry)
                elif isinstance(op, Op):
                    value = self._operate(account, op, entry)
                else:
                    value = self._operate_alone(account, op, entry)
            except Refused as refused:
                if not command.single:
                    refused.metadata["operation"] = str(index)
                raise
        account.version += 1
        own = account.entries[first:]
        for entry in (*own, *received):
            entry.reference = command.reference
        return Answer(
            tuple(own), account.version, effective, value, reversal=reversal, received=received
        )

    def _check(self, account: Account, command: Command, effective: datetime) -> None:
        """What is asked of every command, in this order."""
        self._check_preconditions(account, command)
        for op in command.ops:
            if isinstance(op, TransferPoints):
                self.find(op.recipient)
        if effective > self.now:
            raise Refused("EFFECTIVE_TIME_IN_FUTURE")
        if not command.ops and account.entries:
            raise Refused("MEMBER_EXISTS", member=command.member)
        if not command.ops:
            self._check_earning_time(effective)
        if account.frozen and not isinstance(command.ops[0], UnfreezeMember):
            raise Refused("MEMBER_FROZEN", member=command.member)

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

    def _operate(self, account: Account, op: Op, entry: Entry) -> Decimal | None:
        if isinstance(op, Earn | Count):
            self._check_earning_time(entry.effective_time)
        if isinstance(op, Count):
            if op.counter not in self.settings.counters:
                raise Refused("COUNTER_NOT_FOUND", counter=op.counter)
            entry.kind, entry.counter, entry.counter_change = "COUNTED", op.counter, op.value
            self._enter(account, entry)
            return None
        if isinstance(op, Redeem):
            self._check_redeeming_time(entry.effective_time)
        self._name_currency(entry, op.currency)
        value = None
        if isinstance(op, Earn):
            self._earn(account, op, entry)
        elif isinstance(op, Redeem):
            value = self._redeem(account, op, entry)
        elif op.points > 0:
            self._credit(account, op, entry)
        else:
            self._debit(account, op, entry)
        self._repay(account, entry.currency, entry.effective_time, entry.request_id)
        return value

    def _operate_alone(self, account: Account, op: Lone, entry: Entry) -> Decimal | None:
        value = None
        if isinstance(op, FreezeMember | UnfreezeMember):
            self._freeze(account, op, entry)
        elif isinstance(op, CaptureHold):
            value = self._capture(account, op, entry)
        elif isinstance(op, ReleaseHold):
            self._release(account, op, entry)
        elif isinstance(op, CreateHold):
            deadline = op.expire_time
            if deadline and not self.now < deadline <= self.now + LONGEST_HOLD:
                raise Refused("INVALID_FIELD", field="expire_time")
            self._check_redeeming_time(entry.effective_time)
            self._name_currency(entry, op.currency)
            self._create_hold(account, op, entry)
        elif isinstance(op, ActivatePending):
            if not self.settings.pending_conversion:
                raise Refused("SETTING_OFF", setting="points.pending_conversion")
            self._name_currency(entry, op.currency)
            self._activate(account, op, entry)
        if entry.currency:
            self._repay(account, entry.currency, entry.effective_time, entry.request_id)
        return value

    def _freeze(self, account: Account, op: FreezeMember | UnfreezeMember, entry: Entry) -> None:
        freeze = isinstance(op, FreezeMember)
        if not freeze and not account.frozen:
            raise Refused("MEMBER_NOT_FROZEN", member=account.member)
        account.frozen = freeze
        entry.kind, entry.reason = "FROZEN" if freeze else "UNFROZEN", op.reason
        self._enter(account, entry)

    def _send(
        self, working: dict[str, Account], account: Account, op: TransferPoints, entry: Entry
    ) -> tuple[Entry, ...]:
        recipient = self.find(op.recipient).copy()
        if recipient.frozen:
            raise Refused("MEMBER_FROZEN", member=op.recipient)
        if not self.settings.transfer_enabled:
            raise Refused("SETTING_OFF", setting="transfer.enabled")
        self._name_currency(entry, op.currency)
        first = len(recipient.entries)
        self._transfer(account, recipient, op, entry)
        self._receive(account, recipient, entry, entry.effective_time)
        recipient.version += 1
        working[op.recipient] = recipient
        return tuple(recipient.entries[first:])

    def _check_earning_time(self, effective: datetime) -> None:
        start, end = self.settings.start, self.settings.end
        if (start and effective < start) or (end and effective >= end):
            raise Refused("PROGRAM_INACTIVE")

    def _check_redeeming_time(self, effective: datetime) -> None:
        until = self.settings.redeem_until
        if until is not None and effective >= until:
            raise Refused("PROGRAM_INACTIVE")

    def _name_currency(self, entry: Entry, asked: str) -> None:
        entry.currency = asked or self.settings.currencies[0]
        if entry.currency not in self.settings.currencies:
            raise Refused("CURRENCY_NOT_FOUND", currency=entry.currency)

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

    def _rooms(self, account: Account, entry: Entry) -> list[tuple[str, int]]:
        """How much each limit leaves, in the order in which they cut."""
        limits = self.limits(entry.currency)
        name = f"points_earned:{entry.currency}"
        today = self.counter(account, Window(name, "DAY", time=entry.effective_time))
        month = self.counter(account, Window(name, "MONTH", time=entry.effective_time))
        if self.settings.billing_month and account.billing_day:
            day = local_day(entry.effective_time, self.settings.zone)
            month = self._sum_of_days(account, name, *billing_days(day, account.billing_day))
        balance = self.balance(account, entry.currency)
        rooms = (
            ("DAILY_CAP", limits.daily_cap, today),
            ("MONTHLY_CAP", limits.monthly_cap, month),
            ("MAXIMUM_BALANCE", limits.maximum_balance, balance),
        )
        return [(limit, most - used) for limit, most, used in rooms if most is not None]

    def _credit(self, account: Account, op: Adjust, entry: Entry) -> None:
        strategy = self._strategy(op.expiry, entry.currency)
        most = self.limits(entry.currency).maximum_balance
        if most is not None and self.balance(account, entry.currency) + op.points > most:
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
        self._take(account, entry, self._draw(account, entry.currency, taken))

    # What was known, and what was

    def known_at(self, member: str, instant: datetime) -> Account | None:
        """The account as of a record time: what commands had left by then, settled to it."""
        left = [account for time, account in self.past.get(member, []) if time <= instant]
        if not left:
            return None
        account, now = left[-1].copy(), self.now
        self.now = instant
        self._settle(account)
        self.now = now
        return account

    def amounts_at(
        self, account: Account, currency: str, instant: datetime
    ) -> tuple[int, int, int, int]:
        """The four numbers as of an effective time: all that counts by then, whenever learned."""
        counting = [
            entry
            for entry in account.entries
            if entry.currency == currency and entry.effective_time <= instant
        ]
        return (
            sum(entry.available_change for entry in counting),
            sum(entry.pending_change for entry in counting),
            sum(entry.held_change for entry in counting),
            sum(entry.debt_change for entry in counting),
        )
