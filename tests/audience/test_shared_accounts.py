"""Postings of members whose points are in another account, who were erased, or who returned."""

from datetime import UTC, datetime, timedelta

from loyalty.ledger.v1 import resources_pb2
from loyalty.ledger.v1.resources_pb2 import Amounts, Entry
from services.audience.domain.profile import Holding, Kind, Line, Posting, Profile, apply_posting
from services.audience.peers.ledger import posting_facts

T0 = datetime(2026, 1, 1, tzinfo=UTC)


def change(posting: resources_pb2.Posting) -> resources_pb2.Change:
    return resources_pb2.Change(
        bucket=3, sequence=9, organization="acme", program="p1", posting=posting
    )


def entry(sequence: int, kind: Entry.Kind.ValueType, points: int, after: int) -> Entry:
    return Entry(
        sequence=sequence,
        kind=kind,
        currency="points",
        points=points,
        after=Amounts(available=after),
    )


def test_a_posting_belongs_to_the_profile_of_the_account_that_it_landed_in() -> None:
    pooled = resources_pb2.Posting(
        member="van-7", account_member="fleet", entries=[entry(41, Entry.EARNED, 5, 90)]
    )
    (fact,) = posting_facts([change(pooled)])

    assert fact.posting is not None
    assert fact.posting.member == "fleet"


def test_what_an_erased_member_did_concerns_no_profile() -> None:
    erased = resources_pb2.Posting(entries=[entry(2, Entry.EARNED, 5, 5)])
    (fact,) = posting_facts([change(erased)])

    assert fact.posting is None
    assert (fact.bucket, fact.sequence) == (3, 9)


def test_a_return_lowers_the_net_of_what_was_earned_and_a_capture_is_activity() -> None:
    moves = resources_pb2.Posting(
        member="m1",
        entries=[
            entry(1, Entry.EARNED, 100, 100),
            entry(2, Entry.EARNING_REVERSED, -30, 70),
            entry(3, Entry.CAPTURED, -20, 50),
        ],
    )
    (fact,) = posting_facts([change(moves)])
    assert fact.posting is not None
    profile = apply_posting(Profile(), fact.posting)

    assert profile.holding("points") == Holding(50, 50, earned=100, net=70)
    assert profile.last_activity_time is not None


def test_an_id_that_was_erased_and_enrolled_again_begins_with_nothing() -> None:
    def enrolled(days: int) -> Line:
        return Line(1, Kind.ENROLLED, "", 0, 0, 0, T0 + timedelta(days=days))

    earned = Line(2, Kind.EARNED, "points", 70, 70, 70, T0)
    first = Posting("acme", "p1", "m1", [enrolled(0), earned])
    profile = apply_posting(Profile(tier="gold"), first)

    assert apply_posting(profile, first) is profile
    again = apply_posting(profile, Posting("acme", "p1", "m1", [enrolled(9)]))
    assert again == Profile(1, {}, "", None, T0 + timedelta(days=9))
