"""The stream of changes as messages."""

from collections.abc import Mapping
from typing import Final

from loyalty.ledger.v1 import ledger_pb2, resources_pb2
from services.ledger.operations.watch_changes import Page, PostingChange, Wanted
from services.ledger.rpc import translate
from services.ledger.store.stream import ALL, Erasure, PostingPlace, ProgramMove

_Kind = resources_pb2.Change.Kind
_KINDS: Final[Mapping[int, type[PostingPlace | ProgramMove | Erasure]]] = {
    _Kind.POSTING: PostingPlace,
    _Kind.PROGRAM_CHANGED: ProgramMove,
    _Kind.MEMBER_ERASED: Erasure,
}


def wanted(organization: str | None, request: ledger_pb2.WatchChangesRequest) -> Wanted:
    """What a request asks for."""
    kinds = {_KINDS[kind] for kind in request.kinds}
    return Wanted(organization, list(request.buckets), kinds or ALL)


def page_message(page: Page) -> ledger_pb2.WatchChangesResponse:
    """A page of the stream as it is answered."""
    response = ledger_pb2.WatchChangesResponse(cursors=dict(page.cursors))
    if page.current_time is not None:
        response.current_time.CopyFrom(translate.stamp(page.current_time))
    for each in page.changes:
        if isinstance(each, PostingChange):
            place, posting = each.place, each.posting
            response.changes.add(
                bucket=place.bucket,
                sequence=place.sequence,
                organization=place.organization,
                program=place.program,
                record_time=translate.stamp(posting.record_time),
                posting=translate.posting_message(posting, place.program, each.policy),
            )
            continue
        change = response.changes.add(
            bucket=each.bucket,
            sequence=each.sequence,
            organization=each.organization,
            record_time=translate.stamp(each.record_time),
        )
        if isinstance(each, Erasure):
            change.member_erased.SetInParent()
            change.member_erased.member = each.member
        else:
            change.program = each.program
            change.program_changed.revision = each.revision
    return response
