"""A program over HTTP, in the words of its callers."""

from itertools import count
from typing import Any
from urllib.parse import quote

import httpx

Body = dict[str, Any]
_numbers = count(1)


class Answer(dict[str, Any]):
    """The JSON of an answer, and its status."""

    def __init__(self, response: httpx.Response) -> None:
        assert response.status_code < 500, response.text
        super().__init__(response.json())
        self.status = response.status_code

    @property
    def ok(self) -> "Answer":
        """This answer, which is no refusal."""
        assert self.status == 200, self
        return self

    @property
    def refusal(self) -> tuple[str, Body]:
        """The reason and its metadata."""
        assert self.status != 200, self
        return self["reason"], self["metadata"]

    @property
    def reason(self) -> str:
        """Why it was refused."""
        return self.refusal[0]

    @property
    def id(self) -> str:
        """The posting's id."""
        posting: str = self.ok["posting"]["posting"]
        return posting

    @property
    def entries(self) -> list[tuple[str, int]]:
        """Kind and points of what the posting did."""
        return [(each["kind"], int(each["points"])) for each in self.ok["posting"]["entries"]]


class Program:
    """One program; every call takes its path from here."""

    def __init__(self, http: httpx.AsyncClient, name: str) -> None:
        self.http = http
        self.name = name
        self.path = f"/v1/programs/{name}"

    async def call(self, method: str, path: str, body: Body | None = None, **query: Any) -> Answer:
        """Any route below the program's path."""
        return Answer(
            await self.http.request(method, f"{self.path}{path}", json=body, params=query or None)
        )

    async def do(self, member: str, verb: str, **body: Any) -> Answer:
        """A command of a member, with a request id of its own unless one is given."""
        body.setdefault("requestId", f"request-{next(_numbers)}")
        return await self.call("POST", f"{of(member)}:{verb}", body)

    async def earn(self, member: str, points: int, **body: Any) -> Answer:
        """Give points."""
        return await self.do(member, "earn", points=points, **body)

    async def redeem(self, member: str, points: int, **body: Any) -> Answer:
        """Spend points."""
        return await self.do(member, "redeem", points=points, **body)

    async def hold(self, member: str, points: int, **body: Any) -> Answer:
        """Set points aside."""
        return await self.do(member, "hold", points=points, **body)

    async def end_hold(self, hold: Answer, verb: str, **body: Any) -> Answer:
        """Capture or release a hold."""
        body.setdefault("requestId", f"request-{next(_numbers)}")
        return await self.call("POST", f"/holds/{hold.ok['hold']['hold']}:{verb}", body)

    async def reverse(self, posting: str, **body: Any) -> Answer:
        """Reverse a posting."""
        body.setdefault("requestId", f"request-{next(_numbers)}")
        return await self.call("POST", f"/postings/{posting}:reverse", body)

    async def transfer(self, member: str, recipient: str, points: int, **body: Any) -> Answer:
        """Give points to another member."""
        return await self.do(member, "transfer", recipient=recipient, points=points, **body)

    async def get(self, member: str, what: str = "account", **query: Any) -> Answer:
        """What is kept of a member."""
        return await self.call("GET", f"{of(member)}/{what}", **query)

    async def numbers(self, member: str, currency: str = "points") -> tuple[int, int, int, int]:
        """Available, pending, held and debt."""
        for each in (await self.get(member)).ok["balances"]:
            if each["currency"] == currency:
                return (
                    int(each["available"]),
                    int(each["pending"]),
                    int(each["held"]),
                    int(each["debt"]),
                )
        return 0, 0, 0, 0

    async def history(self, member: str) -> list[Body]:
        """All entries, oldest first."""
        entries: list[Body] = (await self.get(member, "entries", pageSize=1000)).ok["entries"]
        return entries[::-1]

    async def verified(self, member: str) -> Any:
        """True, or what disagrees."""
        answer = (await self.call("GET", f"{of(member)}:verify")).ok
        return answer["ok"] or answer["findings"]

    async def set(self, mask: str, **settings: Any) -> Answer:
        """Change settings."""
        body = {"settings": settings, "updateMask": mask}
        return (await self.call("PATCH", "/settings", body)).ok

    async def advance(self, time: str) -> Answer:
        """Move a sandbox's clock."""
        return await self.call("POST", ":advanceClock", {"time": time})


def of(member: str) -> str:
    """The path of a member below its program."""
    return f"/members/{quote(member, safe='')}"


async def created(
    http: httpx.AsyncClient, name: str, *, start: str = "", enrols: bool = True, **settings: Any
) -> Program:
    """A new program that enrols by itself; with `start` a sandbox whose time begins then."""
    settings["program"] = {"autoEnrol": enrols} | settings.get("program", {})
    body: Body = {"program": name, "settings": settings}
    if start:
        body |= {"sandbox": True, "startTime": start}
    _ = Answer(await http.post("/v1/programs", json=body)).ok
    return Program(http, name)
