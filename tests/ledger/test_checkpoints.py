"""Checkpoints of a real ledger: they go on from each other, and whoever changed one is found."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from chassis.database import engine
from chassis.settings import WrongSettings
from chassis.signing import ensure_key_pair, read_signer
from loyalty import proof
from loyalty.ledger.v1 import proof_pb2
from loyalty.proof import public_key_of, read_checkpoints
from services.ledger.jobs import checkpoints as job
from services.ledger.operations.checkpoints import Keeper, ProofContext
from services.ledger.settings import LedgerSettings
from services.ledger.store.checkpoint_file import NAME, CheckpointFile
from testkit.postgres import TestDatabase, TestPostgres
from tests.ledger.checkpoint_kit import Kept, keeping
from tests.ledger.programs_kit import LedgerUnderTest, ledger_under_test, refusal

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture
async def kept(ledger_database: TestDatabase, tmp_path: Path) -> AsyncIterator[Kept]:
    """A ledger with a program that enrols whoever earns."""
    async with keeping(ledger_database, tmp_path) as made:
        await made.ledger.create_organization()
        await made.ledger.create_program(settings={"program": {"auto_enrol": True}})
        yield made


async def test_a_checkpoint_covers_what_was_posted_since_the_last_one(kept: Kept) -> None:
    await kept.earn("a", "b", "c")
    first = await kept.checkpoint()
    await kept.earn("b", "b")
    second = await kept.checkpoint()
    again = await kept.checkpoint()
    history = kept.history()

    # The program's first revision, and three accounts; then one account.
    assert (first.number, first.leaves) == (1, 4)
    assert (second.number, second.leaves) == (2, 1)
    assert again == second
    assert (history.checkpoints, history.problem) == (2, "")
    assert history.hash.hex() == second.hash
    assert kept.file.read_text() == f"{first.line}\n{second.line}\n"


async def test_anybody_can_verify_a_line_with_openssl(kept: Kept, tmp_path: Path) -> None:
    await kept.earn("a")
    said = (await kept.checkpoint()).line
    unsigned, _, rest = said.rpartition(',"signature":"')
    (tmp_path / "signature").write_bytes(base64.urlsafe_b64decode(rest[:-2] + "=="))
    content = "loyalty.ledger.checkpoint\x01" + unsigned + "}"
    (tmp_path / "content").write_text(content)
    openssl = await asyncio.create_subprocess_exec(
        *("openssl", "pkeyutl", "-verify", "-rawin", "-pubin", "-inkey", kept.public),
        *("-in", tmp_path / "content", "-sigfile", tmp_path / "signature"),
        stdout=asyncio.subprocess.PIPE,
    )
    answer, _ = await openssl.communicate()

    assert b"Verified Successfully" in answer


async def test_leaves_recomputed_from_the_tables_have_the_root_that_was_signed(
    kept: Kept,
) -> None:
    await kept.earn(*(f"m{number}" for number in range(40)))
    await kept.checkpoint()
    await kept.earn(*(f"m{number}" for number in range(0, 40, 3)))
    await kept.checkpoint()
    history = kept.history()

    assert sorted(history.stretches) == [0, 1, 2, 3]
    for bucket, stretches in history.stretches.items():
        request = proof_pb2.ReadLeavesRequest(
            bucket=bucket, heads=[stretch.head for stretch in stretches]
        )
        parts = [part async for part in kept.ledger.proof.ReadLeaves(request)]
        assert len(parts) == len(stretches)
        for part, stretch in zip(parts, stretches, strict=True):
            tree = proof.Tree()
            for leaf in part.leaves:
                tree.add(proof.leaf_of((leaf.kind, leaf.id, leaf.number), leaf.digest))
            assert (part.head, part.complete, part.missing) == (stretch.head, True, 0)
            assert (tree.root, tree.count) == (stretch.root, stretch.leaves)
            keys = {(leaf.kind, leaf.id, leaf.number): leaf.digest for leaf in part.leaves}
            assert proof.kept_leaves(kept.folder, stretch) == keys


async def test_checkpoints_are_listed_page_by_page_and_read_by_number(kept: Kept) -> None:
    made = []
    for _ in range(5):
        await kept.earn("a")
        made.append(await kept.checkpoint())
    listed: list[proof_pb2.Checkpoint] = []
    request = proof_pb2.ListCheckpointsRequest(page_size=2, after=1)
    pages = 0
    while True:
        answer = await kept.ledger.proof.ListCheckpoints(request)
        listed += answer.checkpoints
        pages += 1
        if not answer.next_page_token:
            break
        request.page_token = answer.next_page_token
    get = kept.ledger.proof.GetCheckpoint

    assert (listed, pages) == (made[1:], 2)
    assert await get(proof_pb2.GetCheckpointRequest()) == made[-1]
    assert await get(proof_pb2.GetCheckpointRequest(checkpoint=2)) == made[1]
    missing = await refusal(get(proof_pb2.GetCheckpointRequest(checkpoint=6)))
    assert (missing.reason, missing.metadata) == ("CHECKPOINT_NOT_FOUND", {"checkpoint": "6"})


async def test_where_none_are_kept_it_is_said(ledger: LedgerUnderTest) -> None:
    calls = (
        ledger.proof.CreateCheckpoint(proof_pb2.CreateCheckpointRequest()),
        ledger.proof.GetCheckpoint(proof_pb2.GetCheckpointRequest()),
        ledger.proof.ListCheckpoints(proof_pb2.ListCheckpointsRequest()),
    )

    assert {(await refusal(call)).reason for call in calls} == {"CHECKPOINTS_NOT_KEPT"}


async def test_heads_that_do_not_grow_are_refused(ledger: LedgerUnderTest) -> None:
    async def read(**fields: Any) -> None:
        async for _ in ledger.proof.ReadLeaves(proof_pb2.ReadLeavesRequest(**fields)):
            pass

    assert (await refusal(read(heads=[2, 2]))).fields == ("heads",)
    assert (await refusal(read(heads=[2], after=2))).fields == ("heads",)


# ----------------------------------------------------------------------- a file that was changed


def shortened(lines: list[bytes]) -> list[bytes]:
    return lines[:-1]


def emptied(lines: list[bytes]) -> list[bytes]:
    return []


def altered(lines: list[bytes]) -> list[bytes]:
    return [*lines[:-1], lines[-1].replace(b'"time":"20', b'"time":"19')]


def spoilt(lines: list[bytes]) -> list[bytes]:
    return [*lines[:-1], b"what is this\n"]


@pytest.mark.parametrize("change", [shortened, emptied, altered, spoilt])
async def test_a_changed_file_is_not_written_on(kept: Kept, change: Any) -> None:
    for _ in range(3):
        await kept.earn("a")
        await kept.checkpoint()
    changed = b"".join(change(kept.file.read_bytes().splitlines(keepends=True)))
    kept.file.write_bytes(changed)
    await kept.earn("a")
    call = kept.ledger.proof.CreateCheckpoint(proof_pb2.CreateCheckpointRequest())
    refused = await refusal(call)

    assert (refused.reason, refused.metadata["checkpoint"]) == ("CHECKPOINTS_BROKEN", "3")
    assert kept.file.read_bytes() == changed
    anew = await kept.checkpoint(begin_anew=True)
    assert (anew.number, anew.leaves) == (1, 2)
    assert kept.history().problem == ""
    (aside,) = kept.folder.glob("until-*")
    assert (aside / NAME).read_bytes() == changed


async def test_a_checkpoint_that_the_database_never_heard_of_is_gone_on_from(kept: Kept) -> None:
    await kept.earn("a")
    await kept.checkpoint()
    rows = kept.ledger.rows
    before = await rows.fetchval("SELECT value FROM fact WHERE name = 'checkpoint'")
    await kept.earn("a")
    second = await kept.checkpoint()
    # As if the process had ended between the file and the database.
    await rows.execute("UPDATE fact SET value = $1 WHERE name = 'checkpoint'", before)
    again = await kept.checkpoint()
    await kept.earn("a")
    third = await kept.checkpoint()

    assert again == second
    assert third.number == 3
    assert kept.history().problem == ""


async def test_a_database_that_went_back_is_not_signed(kept: Kept) -> None:
    await kept.earn("a")
    await kept.checkpoint()
    await kept.ledger.rows.execute("UPDATE head SET sequence = 0")
    refused = await refusal(kept.checkpoint())

    assert refused.reason == "CHECKPOINTS_BROKEN"
    assert "shorter than it was" in refused.metadata["problem"]


async def test_a_file_of_another_database_is_not_written_on(
    kept: Kept, postgres: TestPostgres, tmp_path: Path
) -> None:
    await kept.earn("a")
    await kept.checkpoint()
    await kept.earn("a")
    await kept.checkpoint()
    other = postgres.fresh("ledger")
    async with keeping(other, tmp_path) as second:
        assert (await refusal(second.checkpoint())).reason == "CHECKPOINTS_BROKEN"
    postgres.drop(other.name)


def without(place: int) -> Any:
    return lambda lines: lines[:place] + lines[place + 1 :]


def swapped(lines: list[bytes]) -> list[bytes]:
    return [lines[0], lines[2], lines[1], *lines[3:]]


def changed_number(lines: list[bytes]) -> list[bytes]:
    return [lines[0], lines[1].replace(b'"number":2', b'"number":5'), *lines[2:]]


def other_signature(lines: list[bytes]) -> list[bytes]:
    body, _, _ = lines[1].rpartition(b',"signature"')
    _, _, signature = lines[2].rpartition(b',"signature"')
    return [lines[0], body + b',"signature"' + signature, *lines[2:]]


FILES = {
    "the first line removed": (without(0), "line 1: it is checkpoint 2 where 1 follows"),
    "a line in the middle removed": (without(1), "line 2: it is checkpoint 3 where 2 follows"),
    "two lines swapped": (swapped, "line 2: it is checkpoint 3 where 2 follows"),
    "a line altered": (changed_number, "line 2: its signature is not that of the key"),
    "another line's signature": (other_signature, "line 2: its signature is not that of the key"),
    "a line cut short": (lambda lines: [*lines[:3], lines[3][:-9]], "line 4: it was not written"),
    "no checkpoint": (lambda lines: [lines[0], b"{}\n"], "line 2: it is no checkpoint"),
    "nothing changed": (lambda lines: lines, ""),
}


@pytest.mark.parametrize("name", FILES)
async def test_whoever_has_a_copy_and_the_key_sees_that_the_file_was_changed(
    kept: Kept, name: str
) -> None:
    for _ in range(4):
        await kept.earn("a", "b")
        await kept.checkpoint()
    change, problem = FILES[name]
    history = kept.history(change(kept.file.read_bytes().splitlines(keepends=True)))

    assert history.problem.startswith(problem)
    assert bool(problem) is bool(history.problem)


async def test_a_chain_that_another_key_signed_is_not_believed(kept: Kept, tmp_path: Path) -> None:
    await kept.earn("a")
    await kept.checkpoint()
    ensure_key_pair(tmp_path / "other", tmp_path / "other.pub")
    lines = kept.file.read_bytes().splitlines(keepends=True)
    history = read_checkpoints(lines, public_key_of((tmp_path / "other.pub").read_bytes()))

    assert history.checkpoints == 0
    assert "signed by somebody else" in history.problem


async def test_an_exchanged_line_signed_with_the_right_key_does_not_follow(kept: Kept) -> None:
    for _ in range(2):
        await kept.earn("a")
        await kept.checkpoint()
    lines = kept.file.read_bytes().splitlines(keepends=True)
    await kept.checkpoint(begin_anew=True)
    anew = kept.file.read_bytes().splitlines(keepends=True)
    history = kept.history([anew[0], lines[1]])

    assert "checkpoint 2 does not follow the one before it" in history.problem


# ------------------------------------------------------------------------------ jobs and processes


async def test_the_end_of_serving_makes_a_checkpoint(
    ledger_database: TestDatabase, tmp_path: Path
) -> None:
    async with keeping(ledger_database, tmp_path) as made:
        await made.ledger.create_organization()
        await made.ledger.create_program(settings={"program": {"auto_enrol": True}})
        await made.earn("a")
        assert not made.file.exists()

    assert made.history().checkpoints == 1


async def test_the_job_makes_checkpoints_by_the_clock(
    ledger_database: TestDatabase, tmp_path: Path
) -> None:
    async with keeping(ledger_database, tmp_path, checkpoint_minutes=0.002) as made:
        await made.ledger.create_organization()
        await made.ledger.create_program(settings={"program": {"auto_enrol": True}})

        def numbers() -> list[int]:
            lines = made.file.read_text().splitlines() if made.file.exists() else []
            return [json.loads(line)["number"] for line in lines]

        for count in range(1, 4):
            await made.earn("a")
            async with asyncio.timeout(30):
                while len(numbers()) < count:  # noqa: ASYNC110 - a file tells nobody
                    await asyncio.sleep(0.02)
        found = numbers()

        assert found == list(range(1, len(found) + 1))


async def test_of_several_processes_one_makes_each_checkpoint(
    ledger_database: TestDatabase, tmp_path: Path
) -> None:
    async with (
        keeping(ledger_database, tmp_path) as one,
        keeping(ledger_database, tmp_path) as two,
    ):
        await one.ledger.create_organization()
        await one.ledger.create_program(settings={"program": {"auto_enrol": True}})
        for _ in range(5):
            await one.earn("a", "b", "c")
            made = await asyncio.gather(*(each.checkpoint() for each in (one, two) * 3))
            assert len({each.hash for each in made}) == 1
        history = one.history()

    assert (history.checkpoints, history.problem) == (5, "")


async def test_a_job_that_cannot_write_says_so_and_goes_on(
    kept: Kept, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    blocked = tmp_path / "a file"
    blocked.write_text("")
    failed = job.FAILED._value.get()
    async with context_of(kept, blocked / "folder") as context:
        await job.drain(context)

    assert job.FAILED._value.get() == failed + 1


@asynccontextmanager
async def context_of(kept: Kept, folder: Path) -> AsyncIterator[ProofContext]:
    database = engine(kept.dsn)
    keeper = Keeper(CheckpointFile(folder), read_signer(kept.public.with_name("private.pem")))
    yield ProofContext(database, kept.ledger.rows, 4, lambda: NOW, keeper)
    await database.dispose()


def test_a_folder_without_a_key_is_a_wrong_setting(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="come together"):
        LedgerSettings(ledger_dsn="postgresql://x", checkpoint_path=tmp_path)


async def test_a_key_that_is_none_is_a_wrong_setting(
    ledger_database: TestDatabase, tmp_path: Path
) -> None:
    (tmp_path / "key").write_text("nonsense")
    with pytest.raises(WrongSettings, match="no private Ed25519 key"):
        async with ledger_under_test(
            ledger_database, checkpoint_path=tmp_path / "c", checkpoint_key_path=tmp_path / "key"
        ):
            pass
