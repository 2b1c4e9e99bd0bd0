"""What the reference model does when points go from one member to another."""

from datetime import datetime

from tests.properties.model_returns import Returns
from tests.properties.model_shapes import Account, Entry, Lot, Refused, TransferPoints
from tests.properties.model_time import days_after, local_day, window_days


class Transfers(Returns):
    """Two accounts, one commit."""

    def _transfer(
        self, account: Account, recipient: Account, op: TransferPoints, entry: Entry
    ) -> Entry:
        """Enters the sender's side and answers its entry; `_receive` does the other side."""
        settings = self.settings
        if debt := self.debt(account, entry.currency):
            raise Refused("IN_DEBT", debt=debt)
        self._check_transfer_limits(account, op, entry)
        lots = [lot for lot in account.lots if self._old_enough(lot)]
        spendable = sum(
            lot.free for lot in lots if lot.currency == entry.currency and not lot.pending
        )
        if op.points > spendable:
            raise self._short("INSUFFICIENT_POINTS", spendable, op.points)
        most = self.limits(entry.currency).maximum_balance
        if most is not None and self.balance(recipient, entry.currency) + op.points > most:
            raise Refused("LIMIT_REACHED", limit_name="points.maximum_balance", limit=most)
        entry.kind, entry.requested, entry.reason = "TRANSFERRED_OUT", op.points, op.reason
        entry.counterpart = op.recipient
        left = op.points
        drawn = []
        for lot in self._in_spending_order(account, entry.currency):
            taken = min(left, lot.free)
            if taken and not lot.pending and any(lot is one for one in lots):
                drawn.append((lot, taken))
                left -= taken
        self._take(account, entry, drawn)
        assert settings.transfer_enabled
        return entry

    def _check_transfer_limits(self, account: Account, op: TransferPoints, entry: Entry) -> None:
        settings, points = self.settings, op.points
        if points < settings.transfer_minimum:
            raise limit("transfer.minimum", settings.transfer_minimum)
        if settings.transfer_maximum is not None and points > settings.transfer_maximum:
            raise limit("transfer.maximum", settings.transfer_maximum)
        month = window_days("MONTH", 0, local_day(entry.effective_time, settings.zone))
        given = [
            each
            for each in account.entries
            if each.kind == "TRANSFERRED_OUT"
            and month[0] <= local_day(each.effective_time, settings.zone) <= month[1]
        ]
        if settings.transfer_count is not None and len(given) + 1 > settings.transfer_count:
            raise limit("transfer.monthly_count", settings.transfer_count)
        before = sum(-each.points for each in given if each.currency == entry.currency)
        if settings.transfer_points is not None and before + points > settings.transfer_points:
            raise limit("transfer.monthly_points", settings.transfer_points)

    def _old_enough(self, lot: Lot) -> bool:
        days, zone = self.settings.transfer_age_days, self.settings.zone
        return not days or days_after(lot.earn_time, days, zone) <= self.now

    def _receive(
        self, account: Account, recipient: Account, given: Entry, effective: datetime
    ) -> None:
        """One lot for each that points came from, with its expiry."""
        for sequence, points in given.draws:
            source = self.lot(account, sequence)
            entry = Entry(0, "TRANSFERRED_IN", effective, "", given.currency, points)
            entry.reason, entry.counterpart = given.reason, account.member
            entry.requested = points
            self._check_room(recipient, entry)
            lot = Lot(
                0,
                given.currency,
                points,
                points,
                False,
                source.earn_time,
                self._anchor(account, source),
                source.strategy,
            )
            if source.strategy.kind != "INACTIVITY" or source.set_expiry:
                lot.set_expiry = self.expire_time(account, source)
            self._add_lot(recipient, entry, lot)
        self._repay(recipient, given.currency, effective, "")

    def _anchor(self, account: Account, lot: Lot) -> datetime:
        """What the clock of expiry of a lot counts from."""
        if lot.strategy.kind != "INACTIVITY":
            return lot.mature_time
        return max(account.last_activity or lot.mature_time, lot.mature_time)


def limit(name: str, most: int) -> Refused:
    """A limit of transfers refuses."""
    return Refused("LIMIT_REACHED", limit_name=name, limit=most)
