"""A story in which every kind of entry occurs; the examples of `docs/explain.md` are made of it.

`PYTHONPATH=.:libs .venv/bin/python -m tests.ledger.explain` writes them anew; the words stay.
"""

import asyncio
import json
import re
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from google.protobuf.json_format import MessageToDict

from loyalty.ledger.v1 import account_pb2, group_pb2, ledger_pb2, program_pb2, resources_pb2
from testkit.postgres import postgres as started
from tests.ledger.points_kit import START, Points, moment
from tests.ledger.programs_kit import LedgerUnderTest, ledger_under_test

Entry = resources_pb2.Entry
PAGE = Path(__file__).parents[2] / "docs" / "explain.md"
_SECTION = re.compile(r"^## (\w+)$", re.MULTILINE)
_CODE = re.compile(r"^```json$.*?^```$", re.MULTILINE | re.DOTALL)


async def lived(ledger: LedgerUnderTest) -> list[Any]:
    """Live through the story; all postings that it made."""
    points = program_pb2.PointsSettings(daily_cap=300, expiry_notice_days=3)
    points.expiry.add(strategy="month", kind="FIXED", days=30)
    ada = await Points(ledger).begin(
        points=points,
        redemption=program_pb2.RedemptionSettings(reversal=True),
        returns=program_pb2.ReturnsSettings(policy=program_pb2.ReturnsSettings.Policy.ALLOW_DEBT),
        transfer=program_pb2.TransferSettings(enabled=True),
        groups=program_pb2.GroupsSettings(enabled=True),
    )
    await ledger.programs.CreateCounter(
        program_pb2.CreateCounterRequest(program="p", counter_id="visits")
    )
    bob, cleo = await ada.another("bob"), await ada.another("cleo")
    await _spend(ada)
    await _return(bob)
    made = await _leave(ada, bob, cleo)
    for one in ("ada", "bob", "family"):
        listed = await ledger.points.ListEntries(
            ledger_pb2.ListEntriesRequest(program="p", member=one, page_size=1000)
        )
        made += [entry.posting for entry in listed.entries]
    postings = [
        await ledger.points.GetPosting(ledger_pb2.GetPostingRequest(program="p", posting=posting))
        for posting in set(made)
    ]
    return sorted(postings, key=lambda one: (one.record_time.ToNanoseconds(), one.posting))


async def _spend(ada: Points) -> None:
    """Earning with its limits, spending, holding, expiring."""
    source = resources_pb2.Source(
        event="order-4711", rule="base", rate="3", rounding="FLOOR", ruleset=12,
        excluded=["gift card: excluded"],
    )  # fmt: skip
    source.value.amount, source.value.currency = "120.50", "USD"
    await ada.earn(361, source=source, reference="till 7")
    await ada.earn(50, mature_time=moment(START + timedelta(days=14)), effective_time=moment(START))
    await ada.later(days=1)
    await ada.earn(80, mature_time=moment(START + timedelta(days=15)))
    await ada.redeem(100, reference="kettle")
    hold = await ada.hold(60)
    await ada.later(minutes=5)
    await ada.capture(hold.hold.hold, points=45)
    await ada.hold(10)
    await ada.later(hours=2)
    common = ada.common()
    await ada.ledger.points.Adjust(
        ledger_pb2.AdjustRequest(
            program="p",
            member="ada",
            request_id=common["request_id"],
            points=-5,
            reason="a mistake",
        )
    )
    await ada.later(days=40)


async def _return(bob: Points) -> None:
    """A purchase that is returned after its points were spent; debt, and what repays it."""
    ledger = bob.ledger
    bob.now += timedelta(days=41, hours=3)
    await bob.later()
    request = ledger_pb2.PostRequest(
        program="p", member="bob", request_id="order-4712", reference="order-4712"
    )
    request.operations.add().earn.points = 100
    count = request.operations.add().count
    count.counter, count.value = "visits", 1
    bought = await ledger.points.Post(request)
    spent = await bob.redeem(40)
    await bob.reverse(spent.posting.posting, points=10, cause="REWARD_FAILED", reason="sold out")
    await bob.redeem(10)
    await ledger.points.Adjust(
        ledger_pb2.AdjustRequest(
            program="p", member="bob", request_id="sorry", points=15, reason="we were late"
        )
    )
    await bob.reverse(bought.posting.posting, cause="PURCHASE_RETURNED", reason="returned")
    await bob.earn(30)
    await ledger.members.FreezeMember(
        account_pb2.FreezeMemberRequest(
            program="p", member="bob", request_id="freeze", reason="card reported stolen"
        )
    )
    await ledger.members.UnfreezeMember(
        account_pb2.UnfreezeMemberRequest(
            program="p", member="bob", request_id="unfreeze", reason="card found"
        )
    )


async def _leave(ada: Points, bob: Points, cleo: Points) -> list[str]:
    """Giving, merging, belonging together."""
    ledger = ada.ledger
    await bob.later(hours=1)
    await bob.earn(90)
    given = await ledger.points.TransferPoints(
        ledger_pb2.TransferPointsRequest(
            program="p", member="bob", recipient="ada", request_id="gift", points=20
        )
    )
    await cleo.earn(12)
    merged = await ledger.members.MergeMembers(
        group_pb2.MergeMembersRequest(
            program="p", member="cleo", into="bob", request_id="merge", reason="the same person"
        )
    )
    await ledger.members.CreateGroup(
        group_pb2.CreateGroupRequest(
            program="p", group="family", kind=resources_pb2.Account.GROUP, request_id="create"
        )
    )
    joined = await ledger.members.AddGroupMember(
        group_pb2.AddGroupMemberRequest(
            program="p", member="ada", group="family", request_id="join"
        )
    )
    await ada.earn(25)
    left = await ledger.members.RemoveGroupMember(
        group_pb2.RemoveGroupMemberRequest(
            program="p", member="ada", group="family", request_id="leave"
        )
    )
    return [answer.posting.posting for answer in (given, merged, joined, left)]


def page(words: str, postings: list[Any]) -> str:
    """The page with its words, and of every kind the first entry, with what its posting says."""
    names: dict[str, str] = {}
    found: dict[str, str] = {}
    for number, posting in enumerate(postings, start=1):
        names[posting.posting] = f"posting-{number}"
        if re.fullmatch(r"r\d+", posting.request_id):
            posting.request_id = f"request-{number}"
    lots = dict.fromkeys(lot for posting in postings for lot in _lots(posting))
    names |= {lot: f"lot-{number}" for number, lot in enumerate(lots, start=1)}
    for posting in postings:
        for entry in posting.entries:
            kind = Entry.Kind.Name(entry.kind)
            found.setdefault(kind, _example(posting, entry, names))
    head, *sections = _SECTION.split(words)
    parts = [head]
    for kind, text in zip(sections[::2], sections[1::2], strict=True):
        parts.append(f"## {kind}{_CODE.sub(lambda _, kind=kind: found[kind], text)}")
    return "".join(parts)


def explained(words: str) -> list[str]:
    """The kinds that the page has an example of."""
    return _SECTION.findall(words)


def _lots(posting: Any) -> Iterator[str]:
    for entry in posting.entries:
        yield from filter(None, (entry.lot, *(draw.lot for draw in entry.draws)))


def _example(posting: Any, entry: Any, names: Mapping[str, str]) -> str:
    said = MessageToDict(posting)
    said["entries"] = [MessageToDict(entry)]
    for repeated in ("posting", "requestId", "actor", "reference", "recordTime", "digest"):
        said["entries"][0].pop(repeated, None)
    for name in ("change", "after"):
        if not said["entries"][0].get(name):
            said["entries"][0].pop(name, None)
    text = json.dumps(said, indent=2, ensure_ascii=False)
    # A lot or an amount on one line is easier to read.
    text = re.sub(r"\{\s+([^{}\[\]]*?)\s+\}", lambda m: "{" + _joined(m[1]) + "}", text)
    for identifier, name in names.items():
        text = text.replace(identifier, name)
    return f"```json\n{text}\n```"


def _joined(text: str) -> str:
    return re.sub(r"\s*\n\s*", " ", text)


async def _postings() -> list[Any]:
    context = started.__wrapped__()  # type: ignore[attr-defined]  # the fixture's own function
    server = next(context)
    try:
        database = server.fresh("ledger")
        async with ledger_under_test(database) as ledger:
            await ledger.create_organization()
            return await lived(ledger)
    finally:
        next(context, None)


if __name__ == "__main__":
    made = asyncio.run(_postings())
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8"), made), encoding="utf-8")
