"""Page tokens: they go on where they were made, and nowhere else."""

import base64

import pytest

from chassis.paging import decode_token, encode_token, page_size
from kernel.refusals import InvalidField, InvalidPageToken

QUERY: dict[str, object] = {"organization": "acme", "program": "gold", "currency": None}


@pytest.mark.parametrize("position", [(), (5,), ("m-1", 7), ("ü" * 50, -(2**63) + 1)])
def test_a_token_leads_back_to_its_position(position: tuple[str | int, ...]) -> None:
    token = encode_token(QUERY, position)

    assert decode_token(token, QUERY) == position
    assert decode_token(token, dict(reversed(QUERY.items()))) == position
    assert token.isascii()
    assert "=" not in token


def test_the_first_page_has_no_token() -> None:
    assert decode_token("", QUERY) is None


OTHER: dict[str, dict[str, object]] = {
    "another organization": QUERY | {"organization": "other"},
    "another filter": QUERY | {"currency": "miles"},
    "a filter more": QUERY | {"closed": True},
}


@pytest.mark.parametrize("case", OTHER)
def test_a_token_of_another_query_is_refused(case: str) -> None:
    with pytest.raises(InvalidPageToken):
        decode_token(encode_token(QUERY, (5,)), OTHER[case])


def _forged(body: bytes) -> str:
    good = encode_token(QUERY, ())
    digest = base64.urlsafe_b64decode(good + "=" * (-len(good) % 4))[:12]
    return base64.urlsafe_b64encode(digest + body).decode().rstrip("=")


GARBAGE = {
    "no base64": "!!!",
    "no ASCII": "ääää",
    "too short": "AAAA",
    "too long": "A" * 3000,
    "no JSON": _forged(b"\xff\xfe"),
    "an object": _forged(b"{}"),
    "a null": _forged(b"[null]"),
    "a fraction": _forged(b"[1.5]"),
    "a truth": _forged(b"[true]"),
    "a list": _forged(b"[[1]]"),
    "a number that no column holds": _forged(b"[99999999999999999999]"),
    "NUL": _forged(b'["\\u0000"]'),
    "deep nesting": _forged(b"[" * 1400),
}


@pytest.mark.parametrize("case", GARBAGE)
def test_garbage_is_refused(case: str) -> None:
    with pytest.raises(InvalidPageToken):
        decode_token(GARBAGE[case], QUERY)


def test_a_forged_position_of_other_types_is_refused() -> None:
    token = _forged(b'["a",5]')

    assert decode_token(token, QUERY, kinds=(str, int)) == ("a", 5)
    for kinds in ((int, int), (str,), (str, int, int)):
        with pytest.raises(InvalidPageToken):
            decode_token(token, QUERY, kinds=kinds)


def test_pages_have_fifty_rows_unless_asked_and_a_thousand_at_most() -> None:
    assert [page_size(asked) for asked in (0, 1, 50, 1000)] == [50, 1, 50, 1000]
    for asked in (-1, 1001):
        with pytest.raises(InvalidField):
            page_size(asked)
