"""`docs/explain.md` shows what the ledger answers: every kind of entry, as it is today."""

from loyalty.ledger.v1 import resources_pb2
from tests.ledger.explain import PAGE, explained, lived, page
from tests.ledger.programs_kit import LedgerUnderTest

WORDS = PAGE.read_text(encoding="utf-8")


async def test_the_page_is_what_the_ledger_answers(ledger: LedgerUnderTest) -> None:
    assert page(WORDS, await lived(ledger)) == WORDS


def test_every_kind_of_entry_is_explained() -> None:
    kinds = list(resources_pb2.Entry.Kind.keys())

    assert explained(WORDS) == kinds[1:]
