"""Path, query, body and headers become a request message; tables of cases."""

import json
import re
from typing import Any

import pytest
from google.protobuf import json_format
from google.protobuf.message import Message

from chassis.refusals import UnreadableBody
from kernel.refusals import InvalidField
from loyalty.ledger.v1 import ledger_pb2, program_pb2, resources_pb2
from services.gateway.http.catalogue import EXPOSED
from services.gateway.http.jsonwrite import to_dict
from services.gateway.http.routes import Route, retried, routes_of
from services.gateway.http.transcode import read_request

ROUTES = {(route.rpc.name, route.primary): route for route in routes_of(EXPOSED)}


def read(
    method: str,
    body: Any = b"",
    query: str = "",
    key: str | None = None,
    **values: str,
) -> Message:
    route = ROUTES[method, True]
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return read_request(route, values, query.encode(), raw, key)


Windows = resources_pb2.CounterWindow

READ = {
    "camel case": ("Earn", {"requestId": "r"}, "", ledger_pb2.EarnRequest(request_id="r")),
    "snake case": ("Earn", {"request_id": "r"}, "", ledger_pb2.EarnRequest(request_id="r")),
    "a number": ("Earn", {"points": 5}, "", ledger_pb2.EarnRequest(points=5)),
    "a number as a string": ("Earn", {"points": "5"}, "", ledger_pb2.EarnRequest(points=5)),
    "a whole float": ("Earn", b'{"points": 1e3}', "", ledger_pb2.EarnRequest(points=1000)),
    "an empty body is an empty message": ("Earn", b" \n", "", ledger_pb2.EarnRequest()),
    "null is left out": ("Earn", {"points": None, "source": None}, "", ledger_pb2.EarnRequest()),
    "a page": (
        "ListEntries",
        b"",
        "pageSize=10&page_token=abc",
        ledger_pb2.ListEntriesRequest(page_size=10, page_token="abc"),
    ),
    "percent and plus in a query": (
        "ListEntries",
        b"",
        "pageToken=a%2Bb+c%C3%A9",
        ledger_pb2.ListEntriesRequest(page_token="a+b cé"),
    ),
    "a flag": (
        "ListLots",
        b"",
        "includeClosed=true",
        ledger_pb2.ListLotsRequest(include_closed=True),
    ),
    "messages as JSON, repeated": (
        "GetAccount",
        b"",
        'windows={"counter":"a","period":"MONTH"}&windows=[{"counter":"b","period":1}]',
        ledger_pb2.GetAccountRequest(
            windows=[
                Windows(counter="a", period=Windows.MONTH),
                Windows(counter="b", period=Windows.LIFETIME),
            ]
        ),
    ),
    "a mask in the body": (
        "UpdateProgramSettings",
        {"settings": {"points": {"dailyCap": "5"}}, "updateMask": "points.dailyCap"},
        "",
        json_format.ParseDict(
            {"settings": {"points": {"dailyCap": 5}}, "updateMask": "points.dailyCap"},
            program_pb2.UpdateProgramSettingsRequest(),
        ),
    ),
    "a mask in the query, in snake case": (
        "UpdateProgramSettings",
        {"settings": {}},
        "update_mask=points.daily_cap,points.monthly_cap",
        json_format.ParseDict(
            {"settings": {}, "updateMask": "points.dailyCap,points.monthlyCap"},
            program_pb2.UpdateProgramSettingsRequest(),
        ),
    ),
    "a time": (
        "AdvanceClock",
        {"time": "2026-01-31T12:00:00+01:00"},
        "",
        json_format.ParseDict({"time": "2026-01-31T11:00:00Z"}, program_pb2.AdvanceClockRequest()),
    ),
}


@pytest.mark.parametrize("case", READ)
def test_a_request_is_read(case: str) -> None:
    method, body, query, expected = READ[case]

    assert read(method, body, query) == expected


BAD_BODIES: dict[str, tuple[bytes, str | None]] = {
    "no JSON": (b"{", None),
    "not UTF-8": (b'{"reference": "\xff"}', None),
    "UTF-16": ('{"points": 1}'.encode("utf-16"), None),
    "an array": (b"[]", None),
    "a text": (b'"x"', None),
    "null": (b"null", None),
    "NaN": (b'{"points": NaN}', None),
    "an unknown field": (b'{"pionts": 1}', "pionts"),
    "an unknown field within": (b'{"source": {"x": 1}}', "source.x"),
    "a text as a number": (b'{"points": "many"}', "points"),
    "an underscore": (b'{"points": "1_0"}', "points"),
    "a fraction": (b'{"points": 1.5}', "points"),
    "a flag as a number": (b'{"points": true}', "points"),
    "a number beyond 64 bits": (b'{"points": 9223372036854775808}', "points"),
    "a number of many digits": (b'{"points": ' + b"9" * 5000 + b"}", None),
    "infinity": (b'{"points": 1e999}', "points"),
    "a number as a text": (b'{"reference": 5}', "reference"),
    "an object as a text": (b'{"reference": {}}', "reference"),
    "half a character": (b'{"reference": "\\ud800"}', "reference"),
    "an array as an object": (b'{"preconditions": []}', "preconditions"),
    "a text as an object": (b'{"preconditions": "x"}', "preconditions"),
    "an object as an array": (b'{"preconditions": {"expect": {}}}', "preconditions.expect"),
    "null in an array": (b'{"preconditions": {"expect": [null]}}', "preconditions.expect[0]"),
    "an unknown enum": (
        b'{"preconditions": {"expect": [{"window": {"period": "AGE"}}]}}',
        "preconditions.expect[0].window.period",
    ),
    "half a character as an enum": (
        b'{"preconditions": {"expect": [{"window": {"period": "\\ud800"}}]}}',
        "preconditions.expect[0].window.period",
    ),
    "a number that is no enum": (
        b'{"preconditions": {"expect": [{"window": {"period": 99}}]}}',
        "preconditions.expect[0].window.period",
    ),
    "a number as a time": (b'{"effectiveTime": 5}', "effectiveTime"),
    "a text that is no time": (b'{"effectiveTime": "soon"}', "effectiveTime"),
    "a time without a zone": (b'{"effectiveTime": "2026-01-01T00:00:00"}', "effectiveTime"),
    "a year beyond": (b'{"effectiveTime": "99999-01-01T00:00:00Z"}', "effectiveTime"),
    "both names": (b'{"requestId": "a", "request_id": "b"}', "request_id"),
    "a field twice": (b'{"points": 1, "points": 2}', "points"),
    "a flag as a text": (b'{"validateOnly": "true"}', "validateOnly"),
    "nested too deeply": (b"[" * 100_000, None),
}


@pytest.mark.parametrize("case", BAD_BODIES)
def test_a_body_that_does_not_fit_is_unreadable(case: str) -> None:
    body, field = BAD_BODIES[case]
    with pytest.raises(UnreadableBody) as caught:
        read("Earn", body)

    assert caught.value.metadata.get("field") == field


def test_two_operations_in_one_are_unreadable() -> None:
    body = {"operations": [{"earn": {"points": 1}, "redeem": {"points": 1}}]}
    with pytest.raises(UnreadableBody) as caught:
        read("Post", body)

    assert caught.value.metadata["field"] == "operations[0].redeem"


def test_a_body_where_none_is_taken_is_unreadable() -> None:
    with pytest.raises(UnreadableBody):
        read("GetAccount", b"{}")


BAD_QUERIES = {
    "unknown": ("ListEntries", "page=1", "page"),
    "unknown within": ("GetAccount", "windows.counter=a", "windows.counter"),
    "what stands in the path": ("ListEntries", "program=q", "program"),
    "twice": ("ListEntries", "pageSize=1&page_size=2", "page_size"),
    "no number": ("ListEntries", "pageSize=ten", "pageSize"),
    "no flag": ("ListLots", "includeClosed=yes", "includeClosed"),
    "beyond 32 bits": ("ListEntries", "pageSize=4294967296", "pageSize"),
    "no UTF-8": ("ListEntries", "pageToken=%ff", "query"),
    "no JSON": ("GetAccount", "windows=x", "windows"),
    "JSON that does not fit": ("GetAccount", 'windows={"counter":5}', "windows[0].counter"),
    "a field of the body": ("Earn", "points=5", "points"),
    "a mask in both": ("UpdateProgramSettings", "updateMask=points", "updateMask"),
    "too deep": ("ListEntries", "a." * 50 + "b=1", "a." * 50 + "b"),
    "too many": ("ListEntries", "&".join("a=1" for _ in range(5000)), "query"),
    "no name": ("ListEntries", "=1", ""),
}


@pytest.mark.parametrize("case", BAD_QUERIES)
def test_a_query_that_does_not_fit_names_its_parameter(case: str) -> None:
    method, query, field = BAD_QUERIES[case]
    body = {"updateMask": "points"} if method == "UpdateProgramSettings" else b""
    with pytest.raises(InvalidField) as caught:
        read(method, body, query)

    assert caught.value.violations[0].field == field


KEYS = {
    "bare": ("till-7", {}, "till-7"),
    "quoted": ('"till-7"', {}, "till-7"),
    "quoted with escapes": ('"a\\"b\\\\c"', {}, 'a"b\\c'),
    "equal to the body's": ("r", {"requestId": "r"}, "r"),
    "quoted and equal": ('"r"', {"requestId": "r"}, "r"),
    "half a quote is a character": ('"a', {}, '"a'),
}


@pytest.mark.parametrize("case", KEYS)
def test_an_idempotency_key_is_the_request_id(case: str) -> None:
    key, body, expected = KEYS[case]
    message = read("Earn", body, key=key)

    assert isinstance(message, ledger_pb2.EarnRequest)
    assert message.request_id == expected


@pytest.mark.parametrize(
    "key,body",
    [("other", {"requestId": "r"}), ("", {}), ('""', {}), ('"r', {"requestId": "r"})],
)
def test_an_idempotency_key_that_differs_or_is_empty_is_refused(
    key: str, body: dict[str, object]
) -> None:
    with pytest.raises(InvalidField):
        read("Earn", body, key=key)


def test_an_idempotency_key_says_nothing_where_there_is_no_request_id() -> None:
    assert read("CreateProgram", {"program": "p"}, key="x") == program_pb2.CreateProgramRequest(
        program="p"
    )


def test_the_path_fills_its_fields_and_the_body_may_not_differ() -> None:
    expected = ledger_pb2.EarnRequest(program="p", member="m")

    assert read("Earn", {}, program="p", member="m") == expected
    assert read("Earn", {"member": "m"}, program="p", member="m") == expected
    with pytest.raises(InvalidField):
        read("Earn", {"member": "other"}, program="p", member="m")


def test_a_segment_of_a_path_may_be_a_number() -> None:
    expected = ledger_pb2.ListEntriesRequest(program="p", member="m", page_size=12)

    assert read("ListEntries", program="p", member="m", page_size="12") == expected
    for wrong in ("twelve", "1.5", "", "99999999999"):
        with pytest.raises(InvalidField):
            read("ListEntries", program="p", member="m", page_size=wrong)


def test_every_annotated_method_has_its_routes() -> None:
    routes = list(routes_of(EXPOSED))
    known = {(route.method, route.template.text) for route in routes}

    assert {
        ("GET", "/v1/programs"),
        ("POST", "/v1/programs/{program}:advanceClock"),
        ("PATCH", "/v1/programs/{program}/settings"),
        ("GET", "/v1/programs/{program}/members/{member}"),
        ("POST", "/v1/programs/{program}/members/{member}:earn"),
        ("GET", "/v1/me"),
        ("GET", "/v1/me/entries"),
        ("GET", "/v1/me/expirations"),
    } <= known
    assert len(known) == len(routes)
    own = re.compile(r"/v1/me($|[/:])")
    assert all(route.mine == bool(own.match(route.template.text)) for route in routes)


def test_only_calls_that_do_no_harm_twice_are_retried() -> None:
    twice = {route.rpc.name for route in routes_of(EXPOSED) if retried(route.rpc)}

    assert {"Earn", "Post", "BatchPost", "EnrolMember", "GetAccount", "ListEntries"} <= twice
    assert not twice & {"UpdateProgramSettings", "CreateProgram", "AdvanceClock", "IssueToken"}


def filled(message: Message, depth: int = 0) -> Message:
    """A message with every field set, three levels deep."""
    for field in message.DESCRIPTOR.fields:
        if field.message_type is not None:
            # An `Any` is only what it says it is.
            if depth == 3 or field.message_type.full_name == "google.protobuf.Any":
                continue
            value = getattr(message, field.name)
            if field.message_type.GetOptions().map_entry:
                value["ä"] = _sample(field.message_type.fields_by_name["value"])
                continue
            filled(value.add() if field.is_repeated else value, depth + 1)
        elif field.is_repeated:
            getattr(message, field.name).append(_sample(field))
        else:
            setattr(message, field.name, _sample(field))
    return message


def _sample(field: Any) -> Any:
    if field.enum_type is not None:
        return field.enum_type.values[-1].number
    return {9: 'é"\\ ☃', 12: b"\xff\x00", 8: True}.get(field.type, 7)


@pytest.mark.parametrize("route", ROUTES.values(), ids=lambda route: route.full_method)
def test_json_is_the_canonical_one(route: Route) -> None:
    for kind in (route.request, route.response):
        for message in (kind(), filled(kind())):
            expected = json_format.MessageToDict(message, always_print_fields_with_no_presence=True)

            assert to_dict(message) == expected


@pytest.mark.parametrize("route", ROUTES.values(), ids=lambda route: route.full_method)
def test_what_is_written_is_read_again(route: Route) -> None:
    from services.gateway.http.jsonread import read_message

    message = filled(route.request())
    again = route.request()
    read_message(json.loads(json.dumps(to_dict(message))), again)

    assert again == message
