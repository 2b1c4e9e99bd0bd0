"""What the reference model does with lots: making, drawing, coming back, and what time does.

Whatever comes back to a lot meets the lot's claim first, then its expiry; what is available in the
end repays debt.
"""

from collections.abc import Iterable
from datetime import datetime

from tests.properties.model_book import LIMIT, Book
from tests.properties.model_shapes import Account, Entry, Lot, Refused, Strategy
from tests.properties.model_time import days_after


class Lots(Book):
    """Lots and time."""

    def _make_lot(
        self, account: Account, entry: Entry, strategy: Strategy, mature: datetime | None
    ) -> None:
        earned = entry.effective_time
        mature = max(mature or earned, earned)
        self._check_room(account, entry)
        if entry.points == 0:
            self._enter(account, entry)
            return
        self._add_lot(
            account,
            entry,
            Lot(
                0,
                entry.currency,
                entry.points,
                entry.points,
                mature > self.now,
                earned,
                mature,
                strategy,
            ),
        )

    def _check_room(self, account: Account, entry: Entry) -> None:
        if self.total(account, entry.currency, entry.kind) + entry.points > LIMIT:
            raise Refused("POINTS_OVERFLOW", limit=LIMIT)
        if self.balance(account, entry.currency) + entry.points > LIMIT:
            raise Refused("POINTS_OVERFLOW", limit=LIMIT)

    def _add_lot(self, account: Account, entry: Entry, lot: Lot) -> None:
        """Enters `entry`, which makes `lot`; what is dead before it is recorded expires at once."""
        account.lots.append(lot)
        lot.sequence = entry.lot = len(account.entries) + 1
        entry.mature_time, entry.expire_time = lot.mature_time, self.expire_time(account, lot)
        if lot.pending:
            self._enter(account, entry, pending=lot.free)
        else:
            self._enter(account, entry, available=lot.free)
        self._expire_returned(account, [lot], entry)

    # Taking

    def _draw(self, account: Account, currency: str, wanted: int) -> list[tuple[Lot, int]]:
        """Which lots give how much, in spending order; nothing is taken yet."""
        found = []
        for lot in self._in_spending_order(account, currency):
            taken = min(lot.free, wanted)
            if taken and not lot.pending and self._alive_at(account, lot, self.now):
                found.append((lot, taken))
                wanted -= taken
        return found

    def _take(self, account: Account, entry: Entry, drawn: Iterable[tuple[Lot, int]]) -> None:
        """Enters `entry`, which takes what was drawn out of the account."""
        for lot, points in drawn:
            lot.free -= points
            entry.points -= points
            entry.draws += ((lot.sequence, points),)
        self._enter(account, entry, available=entry.points)

    def _in_spending_order(self, account: Account, currency: str) -> list[Lot]:
        def order(lot: Lot) -> tuple[bool, datetime, datetime, int]:
            expires = self.expire_time(account, lot)
            return expires is None, expires or self.now, lot.earn_time, lot.sequence

        return sorted((lot for lot in account.lots if lot.currency == currency), key=order)

    def _alive_at(self, account: Account, lot: Lot, instant: datetime) -> bool:
        expires = self.expire_time(account, lot)
        return expires is None or instant < expires

    def _spendable(self, account: Account, currency: str) -> int:
        lots = [lot for lot in account.lots if lot.currency == currency and not lot.pending]
        return sum(lot.free for lot in lots if self._alive_at(account, lot, self.now))

    # Coming back

    def _come_back(self, account: Account, pieces: list[tuple[Lot, int]], cause: Entry) -> None:
        """What came back to lots meets claims, pays debt, and dies if its time has passed."""
        self._meet_claims(account, pieces, cause)
        self._repay(account, cause.currency, cause.effective_time, cause.request_id)
        self._expire_returned(account, [lot for lot, _ in pieces], cause)

    def _meet_claims(self, account: Account, pieces: list[tuple[Lot, int]], cause: Entry) -> None:
        left = []
        for lot, points in pieces:
            met = min(lot.claim, points)
            self._meet(account, lot, lot, met, cause)
            left.append((lot, points - met))
        # Other points were taken in the place of what comes back now: it is theirs to be taken.
        for lot, points in left:
            room = min(points, lot.covered)
            for other in account.lots:
                met = min(room, other.claim) if other.currency == lot.currency else 0
                self._meet(account, lot, other, met, cause)
                lot.covered -= met
                other.covered += met
                room -= met

    def _meet(self, account: Account, lot: Lot, claimed: Lot, met: int, cause: Entry) -> None:
        if not met:
            return
        claimed.claim -= met
        lot.free -= met
        entry = Entry(
            0,
            "EARNING_REVERSED",
            cause.effective_time,
            cause.request_id,
            lot.currency,
            -met,
            draws=((lot.sequence, met),),
            related=claimed.sequence,
        )
        self._enter(account, entry, available=-met)

    def _expire_returned(self, account: Account, lots: list[Lot], cause: Entry) -> None:
        """One entry an instant, never before what brought the points."""
        dead: dict[datetime, list[Lot]] = {}
        for lot in self._in_spending_order(account, cause.currency):
            expires = self.expire_time(account, lot)
            if any(lot is one for one in lots) and lot.free and expires and expires <= self.now:
                dead.setdefault(max(expires, cause.effective_time), []).append(lot)
        for instant, together in sorted(dead.items()):
            entry = Entry(0, "EXPIRED", instant, cause.request_id)
            self._expire_lots(account, together, entry)

    def _repay(self, account: Account, currency: str, effective: datetime, request_id: str) -> None:
        """Debt and available points are never both there; what is about to die pays, too."""
        free = [lot for lot in self._in_spending_order(account, currency) if not lot.pending]
        repaid = min(self.debt(account, currency), sum(lot.free for lot in free))
        if not repaid:
            return
        entry = Entry(0, "DEBT_REPAID", effective, request_id, currency)
        left = repaid
        for lot in free:
            points = min(lot.free, left)
            if points:
                left -= points
                lot.free -= points
                lot.repaid += points
                entry.draws += ((lot.sequence, points),)
        self._enter(account, entry, available=-repaid, debt=-repaid)

    # Time

    def advance(self, time: datetime) -> int:
        """Moves the clock, does what is due, and answers how many accounts had something due."""
        if time < self.now:
            raise Refused("CLOCK_GOES_BACK")
        self.now = time
        settled = 0
        for member, account in self.accounts.items():
            if any(due <= time for due in self._due_times(account)):
                # What was known before stays as it was, for whoever asks.
                self.accounts[member] = account.copy()
                settled += self._settle(self.accounts[member])
        return settled

    def _settle(self, account: Account) -> bool:
        """Matures, lapses, expires, at each instant at which something is due, in order."""
        instant: datetime | None = None
        while due := [time for time in self._due_times(account) if time <= self.now]:
            # What a lapse gave back may be late for being told of.
            instant = max(instant or min(due), min(due))
            for lot in account.lots:
                if lot.free and lot.pending and lot.mature_time <= instant:
                    lot.pending = False
                    entry = Entry(0, "MATURED", instant, "", lot.currency, lot=lot.sequence)
                    self._enter(account, entry, available=lot.free, pending=-lot.free)
            for hold in account.holds:
                if hold.state == "OPEN" and hold.expire_time <= instant:
                    hold.state = "LAPSED"
                    entry = Entry(0, "LAPSED", instant, "", hold.currency)
                    pieces = self._give_back(account, entry, hold.sequence, hold.draws)
                    self._meet_claims(account, pieces, entry)
            for currency in self.settings.currencies:
                self._repay(account, currency, instant, "")
                self._expire(account, currency, instant)
            self._notice(account, instant)
        return instant is not None

    def _notice(self, account: Account, instant: datetime) -> None:
        """Tells what will expire: one entry a currency and instant of expiry."""
        told: dict[tuple[int, datetime], list[Lot]] = {}
        for lot in sorted(account.lots, key=lambda lot: (lot.earn_time, lot.sequence)):
            time, expires = self._notice_time(account, lot), self.expire_time(account, lot)
            if time is not None and time <= instant and expires is not None:
                currency = self.settings.currencies.index(lot.currency)
                told.setdefault((currency, expires), []).append(lot)
                lot.noticed = expires
        for (_, expires), lots in sorted(told.items(), key=lambda item: item[0]):
            entry = Entry(0, "EXPIRY_NOTICED", instant, "", lots[0].currency)
            entry.draws = tuple((lot.sequence, lot.free) for lot in lots)
            entry.requested, entry.expire_time = sum(lot.free for lot in lots), expires
            self._enter(account, entry)

    def _notice_time(self, account: Account, lot: Lot) -> datetime | None:
        """When the expiry of a lot is told, if it is to be; never before it matured."""
        days, expires = self.settings.notice_days, self.expire_time(account, lot)
        if not days or not lot.free or lot.pending or expires is None:
            return None
        if expires in {lot.noticed, lot.mature_time}:
            return None
        return max(days_after(expires, -days, self.settings.zone), lot.mature_time)

    def _give_back(
        self, account: Account, entry: Entry, held_by: int, draws: Iterable[tuple[int, int]]
    ) -> list[tuple[Lot, int]]:
        """Enters `entry`, by which held points become available again."""
        pieces = [(self.lot(account, sequence), points) for sequence, points in draws]
        for lot, points in pieces:
            lot.held -= points
            lot.free += points
        entry.related, entry.draws = held_by, tuple(draws)
        points = sum(points for _, points in pieces)
        self._enter(account, entry, available=points, held=-points)
        return pieces

    def next_due(self) -> datetime | None:
        """The next instant at which time alone changes an account."""
        times = [time for account in self.accounts.values() for time in self._due_times(account)]
        return min(times, default=None)

    def _due_times(self, account: Account) -> list[datetime]:
        times = [hold.expire_time for hold in account.holds if hold.state == "OPEN"]
        for lot in account.lots:
            expires = self.expire_time(account, lot)
            if lot.free and lot.pending:
                times.append(lot.mature_time)
            if lot.free and expires is not None:
                times.append(expires)
            if notice := self._notice_time(account, lot):
                times.append(notice)
        return times

    def _expire(self, account: Account, currency: str, instant: datetime) -> None:
        dead = [
            lot
            for lot in self._in_spending_order(account, currency)
            if lot.free and not self._alive_at(account, lot, instant)
        ]
        if dead:
            self._expire_lots(account, dead, Entry(0, "EXPIRED", instant, ""))

    def _expire_lots(self, account: Account, dead: list[Lot], entry: Entry) -> None:
        entry.currency = dead[0].currency
        entry.draws = tuple((lot.sequence, lot.free) for lot in dead)
        pending = sum(lot.free for lot in dead if lot.pending)
        available = sum(lot.free for lot in dead if not lot.pending)
        for lot in dead:
            lot.expired += lot.free
            lot.free = 0
        entry.points = -available - pending
        self._enter(account, entry, available=-available, pending=-pending)
