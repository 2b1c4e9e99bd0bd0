"""What members see of themselves under `/v1/me`, and what of a group that they belong to.

Every route that a member's own token reaches is found from the gateway's table.
"""

import json
import re
from dataclasses import dataclass, field
from itertools import product
from typing import Any
from uuid import UUID

import httpx

from loyalty.ledger.v1 import ledger_pb2
from loyalty.ledger.v1.ledger_pb2_grpc import LedgerServiceStub
from services.gateway.http.catalogue import EXPOSED
from services.gateway.http.routes import routes_of
from testkit.servers import authorized_channel
from tests.journeys.program_kit import Answer, Program, created
from tests.journeys.suite_kit import Suite

ROUTES = sorted({route.template.text for route in routes_of(EXPOSED) if route.mine})
OTHERS = sorted({(each.method, each.template.text) for each in routes_of(EXPOSED) if not each.mine})
NIL = UUID(int=0)
# What each of them did, in words that no other one's doing has.
DID = {
    "mia": ("mia-shoes", "mia-gift"),
    "rob": ("rob-wine", "rob-cigars", "rob-secret"),
    "gil": ("gil-watch",),
}
MEMBERS = ("mia", "rob", "gil")


@dataclass
class Household:
    """A pool of three: gil manages, rob may redeem, mia may nothing."""

    program: Program
    tokens: dict[str, str] = field(default_factory=dict)

    async def join(self, member: str, role: str) -> None:
        """Let a member join, and have a token of its own."""
        join = {"member": member, "role": role, "requestId": f"join-{member}"}
        _ = (await self.program.call("POST", "/groups/home/members", join)).ok
        token = {"program": self.program.name, "member": member}
        issued = Answer(await self.program.http.post("/v1/token", json=token))
        self.tokens[member] = issued.ok["token"]

    async def get(self, who: str, path: str, **query: Any) -> Answer:
        """What a member is answered who shows its own token."""
        return Answer(
            await self.program.http.get(
                path, params=query, headers={"authorization": f"Bearer {self.tokens[who]}"}
            )
        )


async def household(http: httpx.AsyncClient, name: str) -> Household:
    """Whose members all did something, before they joined and after."""
    program = await created(
        http,
        name,
        groups={"enabled": True},
        transfer={"enabled": True},
        redemption={"conversionRate": "0.01", "account": "4711", "costCenter": "shops"},
        points={"expiry": [{"strategy": "year", "kind": "FIXED", "days": 365}]},
    )
    home = Household(program)
    await program.earn("stranger-sue", 1)
    for member in MEMBERS:
        await program.earn(member, 10, reference=f"{member}-before", expiry="year")
    roles = [
        {"role": "manager", "permissions": ["REDEEM", "TRANSFER", "MANAGE"]},
        {"role": "spender", "permissions": ["REDEEM"]},
        {"role": "child"},
    ]
    group = {"group": "home", "kind": "GROUP", "requestId": "home", "rules": {"roles": roles}}
    _ = (await program.call("POST", "/groups", group)).ok
    for member, role in (("gil", "manager"), ("rob", "spender"), ("mia", "child")):
        await home.join(member, role)
    await program.earn("mia", 100, reference="mia-shoes", expiry="year")
    await program.earn("rob", 50, reference="rob-wine", source={"event": "rob-wine-event"})
    _ = (await program.redeem("rob", 30, reference="rob-cigars")).ok
    _ = (await program.hold("rob", 5, reference="rob-secret")).ok
    _ = (await program.transfer("gil", "stranger-sue", 5, reference="gil-watch")).ok
    _ = (await program.do("mia", "adjust", points=7, reason="mia-gift")).ok
    return home


def told(answer: Answer) -> str:
    return json.dumps(answer)


def others_of(who: str) -> list[str]:
    """Words that nobody else must read: names of others, and what they did."""
    others = [other for other in MEMBERS if other != who]
    return ["stranger-sue", *(f"{other}-" for other in others), *(f'"{each}"' for each in others)]


async def pages(home: Household, who: str, size: int, **query: Any) -> list[dict[str, Any]]:
    """All lines of a member's own statement."""
    lines: list[dict[str, Any]] = []
    token = ""
    while True:
        asked = {"pageSize": size, "pageToken": token, **query}
        page = (await home.get(who, "/v1/me/statement", **asked)).ok
        lines += page["lines"]
        token = page["nextPageToken"]
        if not token:
            return lines


async def test_of_a_group_everybody_sees_the_balance_and_own_doings(
    http: httpx.AsyncClient, suite: Suite
) -> None:
    home = await household(http, "own-view")
    queries: dict[str, dict[str, Any]] = {"/v1/me:quote": {"points": 20}}
    assert len(ROUTES) >= 8
    for who in MEMBERS:
        for route in ROUTES:
            # A manager's draws, references and names are everybody's.
            answer = await home.get(who, route, **queries.get(route, {}))
            assert answer.status == 200, (route, who, answer)
            text = told(answer)
            if who != "gil":
                leaks = [word for word in others_of(who) if word in text]
                assert not leaks, (route, who, leaks)
            # Who works at the till, and how it is booked, is nobody's here.
            assert "4711" not in text, route
            assert not [each for each in answer.get("entries", []) if each["actor"]]
        account = (await home.get(who, "/v1/me/account")).ok
        assert (account["member"], account["addressedMember"]) == ("home", who)
        assert account["balances"][0]["available"] == "147"
    entries = (await home.get("rob", "/v1/me/entries")).ok["entries"]
    assert [(each["kind"], each["reference"], each["draws"]) for each in entries] == [
        ("HELD", "rob-secret", []),
        ("REDEEMED", "rob-cigars", []),
        ("EARNED", "rob-wine", []),
        ("MOVED_IN", "", []),
    ]
    whole = (await home.get("gil", "/v1/me/entries")).ok["entries"]
    by_operator = (await home.program.get("home", "entries")).ok["entries"]
    assert whole == [{**each, "actor": ""} for each in by_operator]
    assert {each["attributedMember"] for each in whole} == {"", *MEMBERS}
    quotes = [(await home.get(who, "/v1/me:quote", points=20)).ok for who in MEMBERS]
    assert [(each["redeemable"], len(each["draws"])) for each in quotes] == [
        (False, 0),
        (True, 0),
        (True, 1),
    ]
    await _same_over_grpc(home, suite)


async def _same_over_grpc(home: Household, suite: Suite) -> None:
    """The ledger itself confines, whichever way a token comes."""
    async with authorized_channel(suite.ports["ledger"]) as channel:
        stub: Any = LedgerServiceStub(channel)
        answer = await stub.GetStatement(
            ledger_pb2.GetStatementRequest(program=home.program.name, member="mia"),
            metadata=(("authorization", f"Bearer {home.tokens['mia']}"),),
        )
    assert {line.attributed_member for line in answer.lines} == {"mia"}


async def test_no_other_route_is_a_members(http: httpx.AsyncClient, suite: Suite) -> None:
    home = await household(http, "own-routes")
    named = {"program": home.program.name, "member": "mia", "group": "home", "posting": str(NIL)}
    assert len(OTHERS) > 60
    for who in ("mia", "gil"):
        authorization = {"authorization": f"Bearer {home.tokens[who]}"}
        for method, template in OTHERS:
            path = re.sub(r"{(\w+)}", lambda found: named.get(found[1], "1"), template)
            answer = Answer(await http.request(method, path, headers=authorization))
            assert (answer.status, answer.reason) == (403, "SCOPE_MISSING"), (who, path)


async def test_an_own_statement_explains_every_balance(
    http: httpx.AsyncClient, suite: Suite
) -> None:
    home = await household(http, "own-statement")
    for who, size in product(MEMBERS, (1, 2, 1000)):
        references = DID[who]
        lines = await pages(home, who, size)
        backward = await pages(home, who, size, newestFirst="true")
        assert backward == lines[::-1]
        balance = 0
        for line in lines:
            balance += int(line["unlistedPoints"]) + int(line["points"])
            assert balance == int(line["balance"]), (who, line)
            if who == "gil":
                assert line["unlistedPoints"] == "0"
        mine = [line for line in lines if line["attributedMember"] == who]
        assert (mine == lines) is (who != "gil")
        described = [line["reference"] or line["description"] for line in mine]
        assert [word for word in references if word in " ".join(described)] == list(references)
    entries = (await home.get("mia", "/v1/me/entries")).ok["entries"]
    lines = await pages(home, "mia", 2)
    assert [each["sequence"] for each in entries][::-1] == [each["sequence"] for each in lines]
    assert [line["unlistedPoints"] for line in lines] == ["20", "0", "15"]


async def test_only_who_manages_asks_for_the_doings_of_another(
    http: httpx.AsyncClient, suite: Suite
) -> None:
    home = await household(http, "own-asking")
    for route in ("/v1/me/statement", "/v1/me/entries"):
        list_of = "lines" if route.endswith("statement") else "entries"
        for named in ("rob", "stranger-sue", "nobody-at-all", "home"):
            asked = await home.get("mia", route, attributedMember=named)
            permission = {"role": "child", "permission": "MANAGE"}
            assert asked.refusal == ("PERMISSION_MISSING", permission), named
        own = await home.get("mia", route, attributedMember="mia")
        assert own.ok == (await home.get("mia", route)).ok
        robs = (await home.get("gil", route, attributedMember="rob")).ok
        assert {each["attributedMember"] for each in robs[list_of]} == {"rob"}
        # Who never belonged is like nobody, so that names cannot be tried.
        for named in ("stranger-sue", "nobody-at-all"):
            refusal = (await home.get("gil", route, attributedMember=named)).refusal
            assert refusal == ("MEMBER_NOT_FOUND", {"member": named})
        # What was before joining is in the own account.
        before = (await home.get("mia", route, own="true")).ok[list_of]
        assert "mia-before" in [each["reference"] for each in before]
        assert {each["kind"] for each in before} >= {"ENROLLED", "LINKED", "MOVED_OUT"}


async def test_what_an_own_token_sees_follows_roles_merges_and_leaving(
    http: httpx.AsyncClient, suite: Suite
) -> None:
    home = await household(http, "own-following")
    program = home.program

    async def doers(who: str) -> set[str]:
        lines = (await home.get(who, "/v1/me/statement")).ok["lines"]
        return {line["attributedMember"] for line in lines}

    assert await doers("rob") == {"rob"}
    rules = {"roles": [{"role": "spender", "permissions": ["MANAGE"]}, {"role": "manager"}]}
    _ = (await program.call("PATCH", "/groups/home", {"rules": rules})).ok
    # Roles are what they are now; one that is no more permits nothing.
    assert await doers("rob") == {"", *MEMBERS}
    assert await doers("gil") == {"gil"}
    assert await doers("mia") == {"mia"}
    await _who_comes_back_under_another_id(home)


async def _who_comes_back_under_another_id(home: Household) -> None:
    program = home.program
    await program.earn("una", 1)
    await home.join("una", "manager")
    await program.earn("una", 2, reference="una-shoes")
    leaving = {"requestId": "leave"}
    _ = (await program.call("POST", "/groups/home/members/una:remove", leaving)).ok
    left = (await home.get("una", "/v1/me/statement")).ok["lines"]
    assert {line["attributedMember"] for line in left} == {""}
    await program.earn("una-new", 1)
    _ = (await program.do("una", "merge", into="una-new")).ok
    await home.join("una-new", "manager")
    await program.earn("una", 3, reference="by-the-old-id")
    seen = [(await home.get(who, "/v1/me/statement")).ok["lines"] for who in ("una", "una-new")]
    assert seen[0] == seen[1]
    references = [line["reference"] for line in seen[0] if line["reference"]]
    assert references == ["una-shoes", "by-the-old-id"]
    assert {line["attributedMember"] for line in seen[0]} == {"una", "una-new"}
    for who in ("una", "una-new"):
        by_operator = await program.get("home", "statement", attributedMember=who)
        assert [line["sequence"] for line in by_operator.ok["lines"]] == [
            line["sequence"] for line in seen[0]
        ]
