"""What a posting of the ledger says to the tiers."""

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from loyalty.ledger.v1 import resources_pb2
from loyalty.ledger.v1.resources_pb2 import Entry
from services.tiers.jobs.follow_ledger import touch_of
from services.tiers.operations.apply_postings import Touch


def touched(member: str, *entries: Entry, account_member: str = "") -> Touch | None:
    posting = resources_pb2.Posting(
        member=member, account_member=account_member, entries=entries, record_time=Timestamp()
    )
    return touch_of(resources_pb2.Change(organization="acme", program="p1", posting=posting))


@pytest.mark.parametrize("kind", [Entry.COUNTED, Entry.COUNT_REVERSED])
def test_counting_and_taking_it_back_move_a_counter(kind: Entry.Kind.ValueType) -> None:
    touch = touched("m1", Entry(kind=kind, counter="spend"))
    assert touch is not None
    assert touch.counters == {"spend"}


@pytest.mark.parametrize("kind", [Entry.EARNED, Entry.EARNING_REVERSED])
def test_earning_and_taking_it_back_move_the_points_earned(kind: Entry.Kind.ValueType) -> None:
    touch = touched("m1", Entry(kind=kind, currency="miles"))
    assert touch is not None
    assert touch.counters == {"points_earned", "points_earned:miles"}


def test_tiers_are_counted_on_the_group_of_a_member_who_belongs_to_one() -> None:
    touch = touched("van-7", Entry(kind=Entry.COUNTED, counter="spend"), account_member="fleet")
    assert touch is not None
    assert touch.member == "fleet"


@pytest.mark.parametrize(
    "member, kind", [("", Entry.EARNED), ("m1", Entry.REDEEMED), ("m1", Entry.TRANSFERRED_IN)]
)
def test_erased_members_and_moves_of_points_touch_no_tier(
    member: str, kind: Entry.Kind.ValueType
) -> None:
    assert touched(member, Entry(kind=kind, currency="points")) is None
