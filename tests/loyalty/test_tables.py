"""Tables that are whole or not there, and the copy of the file of checkpoints that is cut short."""

import hashlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from loyalty.command.checkpointing import _add
from loyalty.command.tables import Format, written_rows


def test_a_file_is_there_only_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("before")
    with pytest.raises(KeyError), written_rows(path, Format.CSV, ["a"]) as rows:
        rows.write({"a": dict[str, int]()["nothing"]})
    assert path.read_text() == "before"

    with written_rows(path, Format.CSV, ["a"]) as rows:
        rows.write({"a": "=1"})
    assert path.read_text() == "a\n'=1\n"
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_or_a_device_is_written_to_and_stays_what_it_is(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    link.symlink_to(target)
    for path in (link, Path("/dev/null")):
        with written_rows(path, Format.JSONL, ["a"]) as rows:
            rows.write({"a": 1, "b": 2})

    assert link.is_symlink()
    assert target.read_text() == '{"a": 1}\n'
    assert not Path("/dev/null").is_file()


def test_whoever_is_refused_gets_no_empty_table(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyError), written_rows(None, Format.CSV, ["a", "b"]):
        raise KeyError
    assert capsys.readouterr().out == ""

    with written_rows(None, Format.CSV, ["a", "b"]):
        pass
    assert capsys.readouterr().out == "a,b\n"


class Checkpoints:
    """Answers lines that follow each other, as the ledger does."""

    def __init__(self, count: int) -> None:
        self.lines: list[str] = []
        for number in range(count):
            last = hashlib.sha256(self.lines[-1].encode()).hexdigest() if number else "0" * 64
            self.lines.append(f'{{"number":{number},"previous":"{last}"}}')

    def GetCheckpoint(self, request: Any) -> Any:
        return SimpleNamespace(line=self.lines[request.checkpoint - 1])

    def ListCheckpoints(self, request: Any) -> Any:
        found = [SimpleNamespace(line=line) for line in self.lines[request.after :]]
        return SimpleNamespace(checkpoints=found, next_page_token="")


@pytest.mark.parametrize("cut", [0, 1, 30, 150, 10**6])
def test_a_copy_that_was_cut_short_anywhere_is_completed(tmp_path: Path, cut: int) -> None:
    proof: Any = Checkpoints(4)
    whole = "".join(f"{line}\n" for line in proof.lines)
    copy = tmp_path / "copy.jsonl"
    copy.write_text(whole[: max(0, len(whole) - cut)])

    assert _add(proof, copy)
    assert copy.read_text() == whole


def test_a_torn_line_of_another_file_is_no_copy(tmp_path: Path) -> None:
    copy = tmp_path / "copy.jsonl"
    proof: Any = Checkpoints(2)
    copy.write_text(f'{proof.lines[0]}\n{{"number":7')

    assert not _add(proof, copy)
    assert copy.read_text().endswith('{"number":7')
