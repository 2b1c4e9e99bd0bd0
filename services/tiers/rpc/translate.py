"""Ladders, memberships and changes between messages and the domain."""

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from kernel.calendar import Period
from kernel.ids import microseconds
from kernel.refusals import FieldViolation, InvalidField
from loyalty.ledger.v1.resources_pb2 import CounterWindow
from loyalty.tiers.v1 import tiers_pb2
from services.tiers.domain.ladder import Criterion, Ladder, Match, Progress, Tier, Window, progress
from services.tiers.domain.membership import Reading
from services.tiers.domain.rules import etag_of
from services.tiers.operations.memberships import Placement, Placements
from services.tiers.operations.watch_changes import Page, Told
from services.tiers.store.erasures import Erasure

_Membership = tiers_pb2.Membership


def stamp(moment: datetime) -> Timestamp:
    """The timestamp of an instant."""
    micros = microseconds(moment)
    return Timestamp(seconds=micros // 1_000_000, nanos=micros % 1_000_000 * 1_000)


# ------------------------------------------------------------------------------------------ ladders


def ladder_given(ladder: str, message: tiers_pb2.Ladder, field: str) -> Ladder:
    """A whole ladder as given under the path `field`. INVALID_FIELD."""
    return Ladder(ladder, _tiers(message, field), message.display_name)


def fields_given(message: tiers_pb2.Ladder, field: str) -> dict[str, Any]:
    """The fields of a ladder that are set, by name. INVALID_FIELD."""
    given: dict[str, Any] = {}
    if message.display_name:
        given["display_name"] = message.display_name
    if message.tiers:
        given["tiers"] = _tiers(message, field)
    return given


def _tiers(message: tiers_pb2.Ladder, field: str) -> tuple[Tier, ...]:
    timed = [
        FieldViolation(
            f"{field}.tiers[{place}].criteria[{number}].window.time",
            "must not be set: a criterion reads the window of now",
        )
        for place, tier in enumerate(message.tiers)
        for number, criterion in enumerate(tier.criteria)
        if criterion.window.HasField("time")
    ]
    if timed:
        raise InvalidField(*timed)
    return tuple(_tier(each) for each in message.tiers)


def _tier(message: tiers_pb2.Tier) -> Tier:
    return Tier(
        id=message.tier,
        display_name=message.display_name,
        criteria=tuple(
            Criterion(
                Window(each.window.counter, Period(each.window.period), each.window.length),
                each.threshold,
            )
            for each in message.criteria
        ),
        match=Match(message.match or Match.ALL),
        # Equal rates are equal however they are written.
        earning_rate=Decimal(message.earning_rate or "1").normalize(),
        benefits=tuple(message.benefits),
    )


def ladder_message(program: str, ladder: Ladder) -> tiers_pb2.Ladder:
    """A ladder as it is answered."""
    return tiers_pb2.Ladder(
        program=program,
        ladder=ladder.id,
        display_name=ladder.display_name,
        tiers=[tier_message(tier) for tier in ladder.tiers],
        version=ladder.version,
        etag=etag_of(ladder),
    )


def tier_message(tier: Tier) -> tiers_pb2.Tier:
    """A tier as it is answered."""
    return tiers_pb2.Tier(
        tier=tier.id,
        display_name=tier.display_name,
        criteria=[_criterion(each) for each in tier.criteria],
        match=tiers_pb2.Tier.Match.ValueType(tier.match),
        earning_rate=f"{tier.earning_rate:f}",
        benefits=tier.benefits,
    )


def _criterion(criterion: Criterion) -> tiers_pb2.Criterion:
    window = criterion.window
    return tiers_pb2.Criterion(
        window=CounterWindow(
            counter=window.counter,
            period=CounterWindow.Period.ValueType(window.period),
            length=window.length,
        ),
        threshold=criterion.threshold,
    )


# -------------------------------------------------------------------------------------- memberships


class Shown:
    """A ladder's tiers as messages, made once for all members of an answer."""

    def __init__(self, ladder: Ladder) -> None:
        self._ladder = ladder
        self._tiers = [tier_message(tier) for tier in ladder.tiers]

    def membership(self, program: str, placement: Placement, *, brief: bool) -> _Membership:
        """Where a member stands as it is answered; `brief` without the next tier."""
        ladder, standing, reading = self._ladder, placement.standing, placement.reading
        rank = ladder.rank(standing.tier)
        message = _Membership(
            program=program,
            member=placement.member,
            ladder=ladder.id,
            tier=self._tiers[rank],
            since=stamp(standing.since),
            ladder_version=ladder.version,
        )
        if reading is not None:
            message.read_time.CopyFrom(stamp(reading.time))
            if not brief and rank + 1 < len(ladder.tiers):
                self._show_next(message.next, rank + 1, reading)
        return message

    def _show_next(self, message: tiers_pb2.NextTier, rank: int, reading: Reading) -> None:
        above = self._tiers[rank]
        message.tier, message.display_name = above.tier, above.display_name
        steps = progress(self._ladder.tiers[rank], reading.values)
        for criterion, step in zip(above.criteria, steps, strict=True):
            message.progress.add(criterion=criterion, value=step.value, missing=step.missing)


def membership_message(program: str, placement: Placement) -> _Membership:
    """Where one member stands as it is answered."""
    return Shown(placement.ladder).membership(program, placement, brief=False)


def memberships_message(
    program: str, placements: Placements, *, brief: bool = False
) -> tiers_pb2.BatchGetMembershipsResponse:
    """Where members of one ladder stand as it is answered."""
    found = placements.found
    shown = Shown(found[0].ladder) if found else None
    return tiers_pb2.BatchGetMembershipsResponse(
        memberships=[shown.membership(program, each, brief=brief) for each in found if shown],
        missing=placements.missing,
    )


def _progress(steps: Iterable[Progress]) -> list[tiers_pb2.Progress]:
    return [
        tiers_pb2.Progress(
            criterion=_criterion(each.criterion), value=each.value, missing=each.missing
        )
        for each in steps
    ]


# ------------------------------------------------------------------------------------------ changes


def move_message(told: Told) -> tiers_pb2.MembershipChange:
    """A member's change as it is answered."""
    fact = told.change.fact
    move = fact.move
    assert move is not None
    assert fact.member is not None
    reached = told.ladder.tiers[told.ladder.rank(move.to_tier)]
    steps = (
        Progress(criterion, value)
        for criterion, value in zip(reached.criteria, move.values, strict=False)
    )
    return tiers_pb2.MembershipChange(
        program=fact.program.id,
        member=fact.member,
        ladder=fact.ladder.ladder,
        from_tier=move.from_tier,
        to_tier=move.to_tier,
        cause=tiers_pb2.MembershipChange.Cause.ValueType(move.cause),
        effective_time=stamp(move.effective_time),
        ladder_version=move.ladder_version,
        progress=_progress(steps),
    )


def page_message(page: Page) -> tiers_pb2.WatchChangesResponse:
    """A page of the stream as it is answered."""
    response = tiers_pb2.WatchChangesResponse(cursors=dict(page.cursors))
    if page.current_time is not None:
        response.current_time.CopyFrom(stamp(page.current_time))
    for told in page.changes:
        if isinstance(told, Erasure):
            _fill_erasure(response.changes.add(), told)
            continue
        fact = told.change.fact
        change = response.changes.add(
            bucket=fact.bucket,
            sequence=told.change.sequence,
            organization=fact.program.organization,
            program=fact.program.id,
            record_time=stamp(told.change.record_time),
        )
        if fact.member is None:
            change.ladder_changed.CopyFrom(ladder_message(fact.program.id, told.ladder))
        else:
            change.membership_changed.CopyFrom(move_message(told))
    return response


def _fill_erasure(change: tiers_pb2.Change, told: Erasure) -> None:
    change.bucket, change.sequence = told.bucket, told.sequence
    change.organization = told.organization
    change.record_time.CopyFrom(stamp(told.record_time))
    change.member_erased.SetInParent()
    change.member_erased.member = told.member
