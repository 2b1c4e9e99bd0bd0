"""Whoever rewrites history with all its digests is found by the checkpoints, and only by them."""

import asyncio
import os
import shutil
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from loyalty.command.history_check import Checked, check_history
from loyalty.ledger.v1 import program_pb2
from testkit import keys
from testkit.postgres import TestPostgres
from tests.faults.forgery import Forger
from tests.faults.tamper_kit import Intruder, intruding
from tests.ledger.checkpoint_kit import Kept, keeping

ROOT = Path(__file__).parents[2]
SHOWN = 20


@dataclass
class Scene:
    """A ledger with two checkpoints, and an intruder. `carol` earned before each and after."""

    kept: Kept
    intruder: Intruder

    async def forger(self, member: str) -> Forger:
        """Somebody who rewrites the account of a member."""
        return Forger(self.intruder.rows, await self.intruder.account(member))

    async def check(self) -> Checked:
        """Compare the ledger with the file of checkpoints, as somebody who has a copy of it."""
        history = self.kept.history()
        return await check_history(
            self.kept.ledger.proof, history, self.kept.folder, SHOWN, lambda: None
        )

    async def said(self) -> list[str]:
        """What is not as it was signed; there must be something."""
        checked = await self.check()
        assert checked.wrong
        return checked.lines


@pytest.fixture
async def scene(
    postgres: TestPostgres, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Scene]:
    """A small ledger on the server's clock."""
    database = postgres.fresh("ledger")
    async with keeping(database, tmp_path_factory.mktemp("forgery")) as kept:
        await kept.ledger.create_organization()
        await kept.ledger.create_program(settings={"program": {"auto_enrol": True}})
        await kept.earn("carol", "dave", "erin", points=100)
        await kept.checkpoint()
        await kept.earn("carol", "dave", points=50)
        await kept.checkpoint()
        async with intruding(kept, postgres.server.dsn(database.name)) as intruder:
            yield Scene(kept, intruder)
    postgres.drop(database.name)


async def verified(scene: Scene) -> None:
    """The forger did everything right: recomputing the accounts finds nothing."""
    assert await scene.intruder.findings_of_all("p1") == []


async def test_an_honest_history_is_the_one_that_was_signed(scene: Scene) -> None:
    await scene.kept.earn("carol", "frank")
    checked = await scene.check()

    # Three accounts and the program's revision, then two accounts.
    assert (checked.wrong, checked.lines, checked.leaves) == (False, [], 6)


async def test_a_rewritten_chain_is_named_by_checkpoint_account_and_entry(scene: Scene) -> None:
    forger = await scene.forger("carol")
    await forger.earn_more(2, 1_000)
    await verified(scene)
    bucket, account = forger.key
    first, second = await scene.said()

    assert first.startswith(f"bucket {bucket}, checkpoint 1 of 20")
    assert f": account {account}: entry 2 was " in first
    assert second.startswith(f"bucket {bucket}, checkpoint 2 of 20")
    assert f": account {account}: entry 3 was " in second


async def test_a_later_checkpoint_does_not_hide_what_an_earlier_one_signed(scene: Scene) -> None:
    forger = await scene.forger("carol")
    await forger.earn_more(2, 1_000)
    await scene.kept.earn("carol")
    await scene.kept.checkpoint()
    await verified(scene)

    assert [line.partition(" of ")[0] for line in await scene.said()] == [
        f"bucket {forger.key[0]}, checkpoint 1",
        f"bucket {forger.key[0]}, checkpoint 2",
    ]


async def test_a_forgotten_last_posting_is_named(scene: Scene) -> None:
    forger = await scene.forger("dave")
    await forger.forget_last_earning()
    await verified(scene)
    lines = await scene.said()

    assert f"account {forger.key[1]}: entry 3 is missing" in lines[0]
    assert lines[1].endswith("1 of its changes are missing")


async def test_an_account_that_never_was_is_missed(scene: Scene) -> None:
    forger = await scene.forger("erin")
    await forger.vanish()
    await verified(scene)

    assert f"account {forger.key[1]}: entry 2 is missing" in (await scene.said())[0]


async def test_a_posting_put_into_the_past_is_named(scene: Scene) -> None:
    """In the place of a change of the program, whose numbers postings share."""
    rows = scene.intruder.rows
    place = await rows.fetchrow("DELETE FROM program_change RETURNING bucket, sequence")
    assert place is not None
    await rows.execute(
        """
        INSERT INTO posting SELECT (jsonb_populate_record(p, jsonb_build_object(
            'bucket', $1::int, 'sequence', $2::bigint, 'account', 4711))).*
        FROM posting p LIMIT 1
        """,
        *place,
    )
    lines = "\n".join(await scene.said())

    assert "account 4711: entry 2 is stored and was not there" in lines
    assert "revision 1 is missing" in lines


async def test_a_changed_revision_of_a_program_is_named(scene: Scene) -> None:
    await scene.intruder.rows.execute(
        """UPDATE program_revision SET config = config || '{"conversion_rate": "1000"}'"""
    )
    key = await scene.intruder.rows.fetchval("SELECT key FROM program")
    (line,) = await scene.said()

    assert f"program {key}: revision 1 was " in line


async def test_without_the_leaves_the_bucket_and_the_checkpoint_are_named(scene: Scene) -> None:
    forger = await scene.forger("carol")
    await forger.earn_more(2, 1_000)
    shutil.rmtree(scene.kept.folder / "leaves")
    first, second = await scene.said()

    assert first.startswith(f"bucket {forger.key[0]}, checkpoint 1 of ")
    assert first.endswith("is not what was signed")
    assert second.startswith(f"bucket {forger.key[0]}, checkpoint 2 of ")


async def test_leaves_that_were_changed_with_the_rows_are_not_believed(scene: Scene) -> None:
    forger = await scene.forger("carol")
    await forger.earn_more(2, 1_000)
    for path in (scene.kept.folder / "leaves").iterdir():
        path.write_bytes(path.read_bytes()[:-1] + b"\x00")
    assert len(await scene.said()) == 2


async def loyalty(scene: Scene, *arguments: str) -> tuple[int, str, str]:
    """The command against this ledger: its exit code and what it says."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", "from loyalty.command import main; main()", *arguments),
        env={
            **{name: text for name, text in os.environ.items() if "LOYALTY" not in name},
            "PYTHONPATH": str(ROOT / "libs"),
            "LOYALTY_TOKEN": keys.token(),
            "LOYALTY_LEDGER_PORT": str(scene.kept.ledger.port),
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    said, complained = await process.communicate()
    return process.returncode or 0, said.decode(), complained.decode()


async def test_the_command_keeps_a_copy_and_finds_what_is_not_in_it(
    scene: Scene, tmp_path: Path
) -> None:
    copy, public = tmp_path / "copy.jsonl", scene.kept.public
    await loyalty(scene, "checkpoint", "--copy", str(copy))
    await scene.kept.earn("carol", "frank")
    made = await loyalty(scene, "checkpoint", "--copy", str(copy))
    assert made[0] == 0, made[2]
    assert copy.read_bytes() == scene.kept.file.read_bytes()
    compare = ("verify", "p1", "--checkpoints", str(copy), "--public-key", str(public))
    code, said, _ = await loyalty(scene, *compare)
    assert (code, "checkpoints 3, leaves 8;" in said) == (0, True)
    forger = await scene.forger("carol")
    await forger.earn_more(2, 1_000)
    # The ledger's own file is exchanged for one that agrees with the forged rows.
    await loyalty(scene, "checkpoint", "--begin-anew")

    plain = await loyalty(scene, "verify", "p1")
    code, said, complained = await loyalty(scene, *compare)
    another = await loyalty(scene, "checkpoint", "--copy", str(copy))
    assert (plain[0], code, another[0]) == (0, 1, 1)
    assert f"bucket {forger.key[0]}, checkpoint 1 of " in said
    assert "the history is not the one that was signed" in complained
    assert "is no copy of the ledger's file" in another[2]


async def test_the_program_goes_on_and_its_new_history_is_proven(scene: Scene) -> None:
    request = program_pb2.UpdateProgramSettingsRequest(program="p1")
    request.settings.redemption.step = 5
    request.update_mask.paths.append("redemption.step")
    await scene.kept.ledger.programs.UpdateProgramSettings(request)
    await scene.kept.earn(*(f"m{number}" for number in range(30)))
    made = await scene.kept.checkpoint()
    checked = await scene.check()

    assert made.leaves == 31
    assert (checked.wrong, checked.leaves) == (False, 6 + 31)
