"""On the server's clock points mature and die at their instant, whether or not a job has run."""

import time
import uuid
from datetime import UTC, datetime, timedelta

from loyalty.ledger.v1 import ledger_pb2, program_pb2, resources_pb2
from tests.properties.driver import Ledger
from tests.properties.messages import instant, stamp

# A busy machine may need longer than a moment for a few calls.
AHEAD = (timedelta(seconds=1), timedelta(seconds=6), timedelta(seconds=30))
DAY = timedelta(days=1)


def test_every_read_knows_the_instant(ledger: Ledger) -> None:
    """Right before it 100 points are there; from it on 60, then 0: account, lots, expirations."""
    assert any(_seen(ledger, ahead) == {100, 60, 0} for ahead in AHEAD)


def _seen(ledger: Ledger, ahead: timedelta) -> set[int]:
    """What was there at one time or another; nothing where the earnings came too late."""
    program = f"p{uuid.uuid4().hex}"
    request = program_pb2.CreateProgramRequest(program=program)
    request.settings.program.auto_enrol = True
    request.settings.points.expiry.add(strategy="day", kind="FIXED", days=1)
    ledger.call(ledger.programs.CreateProgram, request)
    first = datetime.now(UTC) + ahead
    second = first + ahead / 2
    for points, expires in ((40, first), (60, second)):
        earning = ledger_pb2.EarnRequest(
            program=program,
            member="ada",
            request_id=f"r{points}",
            points=points,
            effective_time=stamp(expires - DAY),
        )
        ledger.call(ledger.ledger.Earn, earning)
    if datetime.now(UTC) >= first:
        return set()
    seen: set[int] = set()

    while datetime.now(UTC) < second + ahead / 2:
        # Asked for first, so that nothing else has settled the account.
        asked = datetime.now(UTC)
        most = 100 if asked < first else 60 if asked < second else 0
        lots = ledger.call(
            ledger.ledger.ListLots, ledger_pb2.ListLotsRequest(program=program, member="ada")
        )
        upcoming = ledger.call(
            ledger.ledger.ListExpirations,
            ledger_pb2.ListExpirationsRequest(program=program, member="ada"),
        )
        assert sum(lot.free for lot in lots.lots) <= most, "a dead lot is listed as free"
        assert sum(row.points for row in upcoming.expirations) <= most, "the dead are to expire"
        account = ledger.call(
            ledger.ledger.GetAccount, ledger_pb2.GetAccountRequest(program=program, member="ada")
        )
        read = instant(account.read_time)
        left = 100 if read < first else 60 if read < second else 0
        seen.add(left)
        (balance,) = account.balances
        assert balance.available == left, (read, first, second)
        assert balance.totals.expired == 100 - left
        time.sleep(0.01)
    history = ledger.call(
        ledger.ledger.ListEntries, ledger_pb2.ListEntriesRequest(program=program, member="ada")
    )
    expired = [entry for entry in history.entries if entry.kind == resources_pb2.Entry.EXPIRED]

    assert [(entry.points, instant(entry.effective_time)) for entry in expired] == [
        (-60, second),
        (-40, first),
    ]
    verify = ledger_pb2.VerifyAccountRequest(program=program, member="ada")
    assert ledger.call(ledger.ledger.VerifyAccount, verify).ok
    return seen
