"""A member's whole life over HTTP: every write asked about first, then done, then sent again."""

from typing import Any

import httpx

from tests.journeys.program_kit import Answer, Program, created, of

DAY = 24
# What an answer that writes nothing cannot know, and what a second look sees later.
UNKNOWN = {"posting", "hold", "lot", "digest", "replayed", "peerPosting", "traceId"}


def comparable(value: Any) -> Any:
    """An answer without what only the real call makes."""
    if isinstance(value, dict):
        kept = {key: each for key, each in value.items() if not (key in UNKNOWN and is_name(each))}
        return {key: comparable(each) for key, each in kept.items()}
    return [comparable(each) for each in value] if isinstance(value, list) else value


def is_name(value: Any) -> bool:
    return not isinstance(value, dict | list)


class Life:
    """A program and its clock; what members were told, to be asked for again later."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.hours = 0
        self.told: list[tuple[str, str, tuple[int, int, int, int]]] = []

    @property
    def now(self) -> str:
        """The program's now."""
        return f"2026-01-{1 + self.hours // DAY:02}T{self.hours % DAY:02}:00:00Z"

    async def pass_time(self) -> None:
        """Move the clock by an hour."""
        self.hours += 1
        _ = (await self.program.advance(self.now)).ok

    async def write(self, path: str, request: str, **body: Any) -> Answer:
        """A write: as if, really, and again."""
        members = ("ada-whole", "bea-whole", "crew-whole")
        before = [comparable(await self.program.get(each, own="true")) for each in members]
        body["requestId"] = request
        dry = (await self.program.call("POST", path, body | {"validateOnly": True})).ok
        after = [comparable(await self.program.get(each, own="true")) for each in members]
        done = (await self.program.call("POST", path, body)).ok
        again = (await self.program.call("POST", path, body)).ok

        assert after == before, path
        assert comparable(dry) == comparable(done), path
        assert (dry["replayed"], done["replayed"], again["replayed"]) == (False, False, True), path
        assert again["posting"] == done["posting"], path
        return done

    async def tell(self, member: str, *expected: int) -> None:
        """A member looks at available, pending, held and debt; an hour later life goes on."""
        seen = await self.program.numbers(member)
        assert seen == expected
        self.told.append((self.now, member, seen))
        await self.pass_time()

    async def told_again(self) -> None:
        """What was told at an instant is what was known then."""
        for time, member, numbers in self.told:
            answer = await self.program.get(member, **{"asOf.recordTime": time, "own": "true"})
            balance = answer.ok["balances"][0]
            known = tuple(int(balance[name]) for name in ("available", "pending", "held", "debt"))

            assert known == numbers, (time, member)


async def test_a_members_whole_life(http: httpx.AsyncClient) -> None:
    program = await created(
        http,
        "whole",
        start="2026-01-01T00:00:00Z",
        redemption={"conversionRate": "0.01", "reversal": True},
        returns={"policy": "ALLOW_DEBT"},
        transfer={"enabled": True},
        groups={"enabled": True},
        points={"expiry": [{"strategy": "year", "kind": "FIXED", "months": 12}]},
    )
    life = Life(program)
    ada, bea = of("ada-whole"), of("bea-whole")

    await enrolled(life)
    bought = await life.write(f"{ada}:earn", "order-1", points=100, reference="order 1")
    await life.tell("ada-whole", 100, 0, 0, 0)
    held = await life.write(f"{ada}:hold", "hold-1", points=80, expireTime="2026-01-02T00:00:00Z")
    hold = held["hold"]["hold"]
    await life.tell("ada-whole", 20, 0, 80, 0)
    captured = await life.write(f"/holds/{hold}:capture", "capture-1", points=70)
    assert captured["value"] == {"amount": "0.70", "currency": "USD"}
    await life.tell("ada-whole", 30, 0, 0, 0)
    returned = await life.write(
        f"/postings/{bought.id}:reverse", "return-1", cause="PURCHASE_RETURNED"
    )
    assert returned["reversed"] == "100"
    await life.tell("ada-whole", 0, 0, 0, 70)
    assert (await program.redeem("ada-whole", 1)).reason == "IN_DEBT"
    await life.write(f"{ada}:earn", "order-2", points=90)
    await life.tell("ada-whole", 20, 0, 0, 0)
    spent = await life.write(f"{ada}:redeem", "redeem-1", points=15)
    await life.write(f"/postings/{spent.id}:reverse", "undo-1", points=5, reason="wrong one")
    await life.write(f"{bea}:earn", "order-1", points=40)
    await life.write(f"{bea}:transfer", "gift-1", recipient="ada-whole", points=10)
    await life.tell("ada-whole", 20, 0, 0, 0)
    await life.tell("bea-whole", 30, 0, 0, 0)
    await frozen_and_unfrozen(life)
    await in_a_group(life)
    await merged(life)
    await life.told_again()
    await adds_up(life)
    await erased(life)


async def enrolled(life: Life) -> None:
    for member in ("ada-whole", "bea-whole"):
        identifiers = [{"kind": "card", "value": f"card of {member}"}]
        await life.write("/members", "enrol", member=member, identifiers=identifiers)
    found = await life.program.call(
        "GET", "/members:lookup", kind="card", value="card of ada-whole"
    )

    assert found.ok["member"] == "ada-whole"


async def frozen_and_unfrozen(life: Life) -> None:
    ada = of("ada-whole")
    await life.write(f"{ada}:freeze", "freeze-1", reason="odd pattern")
    refused = await life.program.redeem("ada-whole", 1)
    await life.write(f"{ada}:unfreeze", "unfreeze-1", reason="it was ada")

    assert refused.refusal == ("MEMBER_FROZEN", {"member": "ada-whole"})


async def in_a_group(life: Life) -> None:
    """Join, earn for all, and leave with a share."""
    await life.write("/groups", "create", group="crew-whole", kind="GROUP")
    for member in ("ada-whole", "bea-whole"):
        await life.write("/groups/crew-whole/members", "join", member=member)
    earned = await life.write(f"{of('ada-whole')}:earn", "order-3", points=50)
    assert earned["posting"]["accountMember"] == "crew-whole"
    await life.tell("crew-whole", 100, 0, 0, 0)
    for member in ("ada-whole", "bea-whole"):
        path = f"/groups/crew-whole/members/{member}:remove"
        await life.write(path, "leave", onLeave="TAKE_SHARE")
    # Of four lots ada takes seven tenths, what she brought and earned; the rest is bea's.
    await life.tell("ada-whole", 70, 0, 0, 0)
    await life.tell("bea-whole", 30, 0, 0, 0)
    await life.tell("crew-whole", 0, 0, 0, 0)


async def merged(life: Life) -> None:
    """From now on both ids mean bea."""
    program = life.program
    points = sum([(await program.numbers(m))[0] for m in ("ada-whole", "bea-whole")])
    await life.write(f"{of('ada-whole')}:merge", "merge", into="bea-whole", reason="one person")
    found = await program.call("GET", "/members:lookup", kind="card", value="card of ada-whole")

    assert found.ok["member"] == "bea-whole"
    assert (await program.get("ada-whole")).ok["member"] == "bea-whole"
    await life.tell("bea-whole", points, 0, 0, 0)
    # The same id of a request as ada's first one: bea has her own.
    assert (await program.earn("ada-whole", 100, requestId="order-1", reference="order 1"))[
        "replayed"
    ]
    assert (await program.earn("bea-whole", 40, requestId="order-1"))["replayed"]


async def adds_up(life: Life) -> None:
    """Statements, proofs, reports."""
    program = life.program
    for member in ("ada-whole", "bea-whole", "crew-whole"):
        statement = (await program.get(member, "statement", pageSize=1000)).ok
        balance = 0
        for line in statement["lines"]:
            balance += int(line["points"])
            assert not line["currency"] or int(line["balance"]) == balance, line
        assert await program.verified(member) is True
    outstanding = (await program.call("GET", "/reports/liability")).ok["currencies"][0]
    owed = [await program.numbers(member) for member in ("bea-whole", "crew-whole")]
    reconciled = (await program.call("POST", ":reconcile", {})).ok

    assert int(outstanding["points"]["available"]) == sum(each[0] for each in owed)
    assert sum(int(part["available"]) for part in outstanding["parts"]) == sum(e[0] for e in owed)
    assert (reconciled["ok"], reconciled["differences"]) == (True, [])


async def erased(life: Life) -> None:
    """Nobody is found any more, and the book is as right as before."""
    program = life.program
    owed = (await program.numbers("crew-whole"))[0]
    gone = await program.do("bea-whole", "erase", writeOff=True, reason="asked for it")
    lookups = [
        await program.call("GET", "/members:lookup", kind="card", value=f"card of {member}")
        for member in ("ada-whole", "bea-whole")
    ]
    accounts = [await program.get(member) for member in ("ada-whole", "bea-whole")]
    outstanding = (await program.call("GET", "/reports/liability")).ok["currencies"][0]
    reconciled = (await program.call("POST", ":reconcile", {})).ok
    entries = (await program.get("crew-whole", "entries")).ok["entries"]

    assert (gone.ok["membersErased"], gone["identifiersErased"]) == (2, 2)
    assert {each.reason for each in (*lookups, *accounts)} == {"MEMBER_NOT_FOUND"}
    assert int(outstanding["points"]["available"]) == owed
    assert reconciled["ok"] is True
    named = {entry["attributedMember"] for entry in entries} | {e["counterpart"] for e in entries}
    assert named == {""}
    assert await program.verified("crew-whole") is True
