"""The table of routes, and hostile paths."""

import asyncio

import pytest

from services.gateway.__main__ import Ports
from services.gateway.domain.paths import MalformedPath, PathTable, parse_template
from tests.gateway.gateway_kit import FakeService

TEMPLATES = (
    ("GET", "/v1/programs"),
    ("POST", "/v1/programs/{program}:advanceClock"),
    ("GET", "/v1/programs/{program}/members/{member}"),
    ("GET", "/v1/programs/{program}/members/{member}:verify"),
    ("POST", "/v1/programs/{program}/members/{member}:earn"),
    ("GET", "/v1/programs/{program}/members/{member}/account"),
    ("GET", "/v1/programs/{program}/members:lookup"),
    ("GET", "/v1/programs/{program}/members/special"),
)

FOUND = {
    "a plain id": ("GET", "/v1/programs/p/members/m", 2, ("p", "m")),
    "a verb is not part of the id": ("POST", "/v1/programs/p/members/m:earn", 4, ("p", "m")),
    "the last raw colon begins the verb": (
        "POST",
        "/v1/programs/p/members/a:b:earn",
        4,
        ("p", "a:b"),
    ),
    "an encoded colon belongs to the id": (
        "GET",
        "/v1/programs/p/members/m%3Aearn",
        2,
        ("p", "m:earn"),
    ),
    "in lower case, too": ("GET", "/v1/programs/p/members/m%3averify", 2, ("p", "m:verify")),
    "an id that looks like a verb, and a verb": (
        "POST",
        "/v1/programs/p/members/m%3Aearn:earn",
        4,
        ("p", "m:earn"),
    ),
    "a colon before the last segment is the id's": (
        "GET",
        "/v1/programs/p/members/a:b/account",
        5,
        ("p", "a:b"),
    ),
    "visible ASCII": ("GET", "/v1/programs/p/members/auth0|1", 2, ("p", "auth0|1")),
    "a plus is a plus": ("GET", "/v1/programs/p/members/a+b@x.example", 2, ("p", "a+b@x.example")),
    "an encoded percent is decoded once": ("GET", "/v1/programs/p/members/%2541", 2, ("p", "%41")),
    "an encoded slash stays in its segment": (
        "GET",
        "/v1/programs/p/members/a%2Fb",
        2,
        ("p", "a/b"),
    ),
    "a question mark and a hash": ("GET", "/v1/programs/p/members/%3F%23", 2, ("p", "?#")),
    "dots are an id": ("GET", "/v1/programs/../members/..", 2, ("..", "..")),
    "a literal wins over a variable": ("GET", "/v1/programs/p/members/special", 7, ("p",)),
    "an encoded literal is that literal": ("GET", "/v1/%70rograms", 0, ()),
    "UTF-8": ("GET", "/v1/programs/p/members/%C3%A9", 2, ("p", "é")),
    "a verb on a literal": ("GET", "/v1/programs/p/members:lookup", 6, ("p",)),
}

NOT_FOUND = {
    "another method": ("PUT", "/v1/programs"),
    "an unknown verb": ("GET", "/v1/programs/p/members/m:eat"),
    "a verb without a name": ("GET", "/v1/programs/p/members/m:"),
    "an encoded verb": ("POST", "/v1/programs/p/members/m%3Aearn"),
    "an empty id": ("GET", "/v1/programs/p/members/"),
    "an empty id in between": ("GET", "/v1/programs//members/m"),
    "a slash at the end": ("GET", "/v1/programs/"),
    "an address": ("GET", "http://x/v1/programs"),
    "an encoded slash makes no segments": ("GET", "/v1%2Fprograms"),
    "nothing": ("GET", ""),
    "too long": ("GET", "/v1" + "/a" * 5000),
}


@pytest.fixture(scope="module")
def table() -> PathTable[int]:
    table: PathTable[int] = PathTable()
    for index, (method, text) in enumerate(TEMPLATES):
        table.add(method, parse_template(text), index + 1)
    return table


@pytest.mark.parametrize("case", FOUND)
def test_a_path_finds_its_route(table: PathTable[int], case: str) -> None:
    method, path, index, values = FOUND[case]

    assert table.find(method, path) == (index + 1, values)


@pytest.mark.parametrize("case", NOT_FOUND)
def test_a_path_finds_nothing(table: PathTable[int], case: str) -> None:
    assert table.find(*NOT_FOUND[case]) is None


@pytest.mark.parametrize("escape", ["%", "%4", "%zz", "%ff", "%C3", "%ED%A0%80", "é", "%-1"])
def test_a_malformed_escape_is_refused(table: PathTable[int], escape: str) -> None:
    with pytest.raises(MalformedPath):
        table.find("GET", f"/v1/programs/p/members/{escape}")


@pytest.mark.parametrize(
    "text", ["v1", "/v1/{a=b}", "/v1/{a}/{a}", "/v1/**", "/v1/{a}x", "/v1/{a}:", "/v1//x", "/"]
)
def test_a_template_beyond_the_grammar_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"has|does not|names"):
        parse_template(text)


def test_two_routes_for_one_path_are_an_error(table: PathTable[int]) -> None:
    with pytest.raises(ValueError, match="is taken"):
        table.add("GET", parse_template("/v1/programs/{other}/members/{id}"), 9)


async def raw(port: int, text: bytes) -> tuple[int, bytes]:
    """Send bytes as they are; the status and the whole answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(text)
        await writer.drain()
        answer = await asyncio.wait_for(reader.read(), 10)
    finally:
        writer.close()
        await writer.wait_closed()
    return int(answer.split(b" ", 2)[1]), answer


IDS = {
    "auth0|1": b"auth0%7C1",
    "m:earn": b"m%3Aearn",
    "a+b@x.example": b"a+b@x.example",
    "!\"#$%&'()*+,-.0123:;<=>?@[\\]^_`{|}~": (
        b"%21%22%23%24%25%26%27%28%29%2A%2B%2C-.0123%3A%3B%3C%3D%3E%3F%40%5B%5C%5D%5E_%60%7B%7C%7D~"
    ),
    "%41": b"%2541",
    "..": b"..",
}


@pytest.mark.parametrize("member", IDS)
async def test_an_id_of_any_visible_ascii_arrives_as_it_is(
    ports: Ports, ledger: FakeService, member: str
) -> None:
    for method, path, name in (
        (b"GET", b"/account", "GetAccount"),
        (b"GET", b":verify", "VerifyAccount"),
        (b"POST", b":earn", "Earn"),
    ):
        body = b'{"points":1,"requestId":"r"}' if method == b"POST" else b""
        status, answer = await raw(
            ports.http,
            b"%s /v1/programs/p/members/%s%s HTTP/1.1\r\nhost: x\r\nconnection: close\r\n"
            b"authorization: Bearer admin-key\r\ncontent-length: %d\r\n\r\n%s"
            % (method, IDS[member], path, len(body), body),
        )

        assert status == 200, answer
        assert ledger.seen[-1][0] == name
        assert ledger.last.member == member


@pytest.mark.parametrize(
    "path",
    [
        b"/v1/programs/p/members/%",
        b"/v1/programs/p/members/%ff/account",
        b"/v1/programs/p/members/a%2Fb/account",
        b"/v1/programs/p/members/%00/account",
        b"/v1/programs/p/members/%20/account",
        b"/v1/programs/p/members/" + b"a" * 129 + b"/account",
        b"/v1/programs/p%3Aq/members/m/account",
        b"/v1/programs/p/members/%F0%9F%98%80/account",
    ],
)
async def test_a_hostile_id_is_a_clear_problem(
    ports: Ports, ledger: FakeService, path: bytes
) -> None:
    status, answer = await raw(
        ports.http,
        b"GET %b HTTP/1.1\r\n%b%b\r\n" % (path, CLOSE, ADMIN),
    )

    assert status == 400, answer
    assert b'"reason": "INVALID_FIELD"' in answer


CLOSE = b"host: x\r\nconnection: close\r\n"
ADMIN = b"authorization: Bearer admin-key\r\n"
PROGRAMS = b"GET /v1/programs HTTP/1.1\r\n" + CLOSE
HOSTILE = {
    "two lengths": PROGRAMS + b"content-length: 1\r\ncontent-length: 2\r\n\r\n",
    "another version": b"GET /v1/programs HTTP/9.9\r\n" + CLOSE + b"\r\n",
    "no HTTP": b"\x00\x01\x02\r\n\r\n",
    "raw bytes in the path": b"GET /v1/\xff\xfe HTTP/1.1\r\n" + CLOSE + b"\r\n",
    "raw bytes as a credential": PROGRAMS + b"authorization: \xff\xfe\r\n\r\n",
    "chunks that are none": PROGRAMS.replace(b"GET", b"POST")
    + ADMIN
    + b"transfer-encoding: chunked\r\n\r\nzz\r\n\r\n",
    "two credentials": PROGRAMS + ADMIN + b"authorization: Bearer reader-key\r\n\r\n",
    "a trace that is none": PROGRAMS + ADMIN + b"traceparent: 00-zz-\xff\r\n\r\n",
}


@pytest.mark.parametrize("case", HOSTILE)
async def test_hostile_bytes_never_break_the_gateway(
    ports: Ports, ledger: FakeService, case: str
) -> None:
    status, answer = await raw(ports.http, HOSTILE[case])

    assert status < 500, answer
