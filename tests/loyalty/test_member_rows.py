"""Files of members: what a row means, and why another one means nothing."""

from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from loyalty.command.member_rows import MemberFile, NumberedMember, parse_members_map
from loyalty.command.rows import BadRow
from loyalty.ledger.v1.account_pb2 import Identifier, MemberImport, OpeningBalance
from tests.ledger.programs_kit import at

ROME = ZoneInfo("Europe/Rome")


def read(path: Path, text: str, mapped: str = "") -> list[NumberedMember | BadRow]:
    path.write_text(text, encoding="utf-8")
    return list(MemberFile(path, ROME, parse_members_map(mapped)).rows())


def test_a_row_of_csv_is_a_member_with_what_it_brings(tmp_path: Path) -> None:
    rows = read(
        tmp_path / "members.csv",
        "no,points,awarded_time,expire_time,identifier.card,identifier.phone,billing_day,note\n"
        "m1,250,2025-07-01T00:00:00Z,2027-01-01T00:00:00+00:00,4711,,28,hello\n"
        "m2,,,,,,,\n",
        "member=no",
    )

    assert rows == [
        NumberedMember(
            1,
            MemberImport(
                number=1,
                member="m1",
                billing_day=28,
                identifiers=[Identifier(kind="card", value="4711")],
                balances=[
                    OpeningBalance(points=250, awarded_time=at(2025, 7), expire_time=at(2027))
                ],
            ),
        ),
        NumberedMember(2, MemberImport(number=2, member="m2")),
    ]


def test_dates_are_local_to_the_program(tmp_path: Path) -> None:
    (row,) = read(tmp_path / "members.csv", "member,enrol_time\nm1,2026-01-01\n")

    assert isinstance(row, NumberedMember)
    assert row.message.enrol_time == at(2025, 12, 31, 23)


def test_json_lines_hold_several_balances_in_either_spelling(tmp_path: Path) -> None:
    rows = read(
        tmp_path / "members.jsonl",
        '{"member": "m1", "enrolTime": "2019-01-01T00:00:00Z", "balances": [{"points": "5"},'
        ' {"currency": "miles", "points": 7, "expiry": "year", "awarded_time": "2026-01-01Z"}]}\n'
        "\n"
        '{"member": "m1", "identifiers": [{"kind": "card", "value": "1"}], "balances": [{"points":'
        ' 7, "awardedTime": "2026-01-01T00:00:00Z"}]}\n',
    )

    assert isinstance(rows[0], BadRow)
    assert rows[1] == NumberedMember(
        2,
        MemberImport(
            number=2,
            member="m1",
            identifiers=[Identifier(kind="card", value="1")],
            balances=[OpeningBalance(points=7, awarded_time=at(2026))],
        ),
    )


@pytest.mark.parametrize(
    "cells, column",
    [
        (",5,,,", "member"),
        ("a/b,5,,,", "member"),
        ("m,5.5,,,", "points"),
        ("m,-5,,,", "points"),
        ("m,1000000000000001,,,", "points"),
        ("m,,2026-01-01,,", "points"),
        ("m,5,yesterday,,", "awarded_time"),
        ("m,5,,2026-01-01,year", "expiry"),
        ("m,5,,,two words", "expiry"),
        ("m,5,,", ""),
    ],
)
def test_a_bad_row_says_where_and_keeps_its_number(tmp_path: Path, cells: str, column: str) -> None:
    rows = read(
        tmp_path / "members.csv",
        f"member,points,awarded_time,expire_time,expiry\n{cells}\nm2,1,,,\n",
    )

    assert isinstance(rows[0], BadRow)
    assert (rows[0].line, rows[0].column) == (2, column)
    assert isinstance(rows[1], NumberedMember)
    assert rows[1].number == 2


@pytest.mark.parametrize(
    "text, mapped, why",
    [
        ("name,points\n", "", "there is no column member"),
        ("member,points\n", "points=coins", "there is no column 'coins'"),
        ("member,member\n", "", "member is there twice"),
        ("member\n", "identifier.Card=member", "there is no field"),
        ("member\n", "member", "not of the form"),
    ],
)
def test_a_file_that_cannot_be_meant_is_refused_whole(
    tmp_path: Path, text: str, mapped: str, why: str
) -> None:
    with pytest.raises(ValueError, match=why):
        read(tmp_path / "members.csv", text, mapped)


@pytest.mark.parametrize(
    "text, column",
    [
        ('{"member": "a"', ""),
        ("[" * 100_000, ""),
        ('{"member": "a", "x": ' + "1" * 5_000 + "}", ""),
        ("[]", ""),
        ('{"member": null}', "member"),
        ('{"member": true}', "member"),
        ('{"member": ["a"]}', "member"),
        ('{"member": "a", "identifiers": [{"kind": "card", "value": null}]}', "identifiers"),
        ('{"member": "a", "identifiers": [{"kind": "card", "value": "\\ud800"}]}', "identifiers"),
        ('{"member": "a", "identifiers": "card"}', "identifiers"),
        ('{"member": "a", "balances": [{"points": true}]}', "points"),
    ],
)
def test_what_json_can_say_and_a_member_cannot_be_is_a_bad_row(
    tmp_path: Path, text: str, column: str
) -> None:
    bad, good = read(tmp_path / "members.jsonl", f'{text}\n{{"member": 5}}\n')

    assert isinstance(bad, BadRow)
    assert (bad.line, bad.column) == (1, column)
    assert good == NumberedMember(2, MemberImport(number=2, member="5"))


def test_another_encoding_is_said_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "members.csv"
    path.write_bytes(b"member\nann\nJos\xe9\n")

    with pytest.raises(ValueError, match="line 3: this is not UTF-8"):
        list(MemberFile(path, ROME, {}).rows())
