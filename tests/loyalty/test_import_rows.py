"""What a file of events means: columns, times, amounts, ids, and what is wrong with a row."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from loyalty.command.event_sending import chunks
from loyalty.command.rows import File, Meaning, parse_columns, read_file
from loyalty.common.v1.money_pb2 import Money
from loyalty.rules.v1.events_pb2 import Event

COLUMNS = {"member": "who", "time": "day", "amount": "paid"}


def read(tmp_path: Path, text: str | bytes, zone: str = "UTC", **meaning: Any) -> File:
    path = tmp_path / "file.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    columns = meaning.pop("columns", COLUMNS)
    return read_file(path, Meaning(columns, ZoneInfo(zone), **meaning))


def instant(*parts: int) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(datetime(*parts, tzinfo=UTC))  # type: ignore[arg-type,misc]
    return stamp


def test_a_row_is_an_event_with_an_id_of_32_hex_digits(tmp_path: Path) -> None:
    file = read(tmp_path, "who,day,paid\nm1,1997-01-02,11.77\n", currency="USD")
    event = file.rows[0].event

    assert file.bad == []
    assert len(event.id) == 32
    assert int(event.id, 16)
    assert event == Event(
        id=event.id,
        type="purchase",
        member="m1",
        effective_time=instant(1997, 1, 2),
        amount=Money(amount="11.77", currency="USD"),
    )


def test_every_field_has_a_column_if_wanted(tmp_path: Path) -> None:
    columns = parse_columns("member=m, time=t,amount=a,type=y,store=s,channel=c,id=i")
    file = read(
        tmp_path, "i,m,t,a,y,s,c\nx-1,ann,1997-01-02T03:04:05Z,,search,S 1,web\n", columns=columns
    )

    assert file.rows[0].event == Event(
        id="x-1",
        type="search",
        member="ann",
        effective_time=instant(1997, 1, 2, 3, 4, 5),
        store="S 1",
        channel="web",
    )


@pytest.mark.parametrize(
    "text,zone,expected",
    [
        ("1997-07-01", "UTC", (1997, 7, 1)),
        ("1997-07-01", "America/New_York", (1997, 7, 1, 4)),
        ("1997-01-01", "America/New_York", (1997, 1, 1, 5)),
        ("19970701", "UTC", (1997, 7, 1)),
        ("1997-07-01T00:00:30", "Europe/Berlin", (1997, 6, 30, 22, 0, 30)),
        ("1997-07-01 12:30", "Europe/Berlin", (1997, 7, 1, 10, 30)),
        ("1997-07-01T12:30:15.25+05:30", "UTC", (1997, 7, 1, 7, 0, 15, 250000)),
        ("1997-07-01T00:00:00Z", "Asia/Tokyo", (1997, 7, 1)),
        # Midnight is skipped: the day begins at one.
        ("2018-11-04", "America/Sao_Paulo", (2018, 11, 4, 3)),
        # The clock goes from 23:30 to 00:30: the day begins half an hour late.
        ("1919-03-31", "America/Toronto", (1919, 3, 31, 4, 30)),
        # The hour is there twice: the first one is meant.
        ("2024-10-27 02:30", "Europe/Berlin", (2024, 10, 27, 0, 30)),
    ],
)
def test_times_without_an_offset_are_local(
    tmp_path: Path, text: str, zone: str, expected: tuple[int, ...]
) -> None:
    file = read(tmp_path, f"who,day,paid\nm,{text},1\n", zone)

    assert file.bad == []
    assert file.rows[0].event.effective_time == instant(*expected)


def test_rows_are_ordered_by_time_and_else_as_in_the_file(tmp_path: Path) -> None:
    text = "who,day,paid\nb,1997-01-02,1\na,1997-01-01,2\na,1997-01-02,3\nc,1997-01-01,4\n"
    file = read(tmp_path, text)

    assert [row.event.amount.amount for row in file.rows] == ["2", "4", "1", "3"]


def test_equal_rows_are_different_events_and_other_rows_do_not_change_ids(tmp_path: Path) -> None:
    row, other = "m,1997-01-02,5\n", "m,1997-01-02,6\n"
    three = [one.event.id for one in read(tmp_path, f"who,day,paid\n{row * 3}").rows]
    among = [
        one.event.id
        for one in read(tmp_path, f"who,day,paid\n{other}{row}{other}{row * 2}").rows
        if one.event.amount.amount == "5"
    ]

    assert len(set(three)) == 3
    assert three == among


def test_the_order_of_columns_does_not_change_ids_and_columns_that_mean_nothing_do(
    tmp_path: Path,
) -> None:
    one = read(tmp_path, "who,day,paid,n\nm,1997-01-02,5,1\n").rows[0].event.id
    same = read(tmp_path, "n,paid,day,who\n1,5,1997-01-02,m\n").rows[0].event.id
    other = read(tmp_path, "who,day,paid,n\nm,1997-01-02,5,2\n").rows[0].event.id

    assert one == same != other


def test_ids_are_the_same_for_ever(tmp_path: Path) -> None:
    file = read(tmp_path, "who,day,paid\nm1,1997-01-02,11.77\n")

    assert file.rows[0].event.id == "9a19f9422e118ef16b22e7239abbeded"


def test_quoted_rows_blank_lines_a_byte_order_mark_and_windows_lines_are_read(
    tmp_path: Path,
) -> None:
    text = '\ufeffwho,day,paid,note\r\n\r\nm,1997-01-02, 5 ,"two\r\nlines, and ""more"""\r\n'
    file = read(tmp_path, text)

    assert file.bad == []
    assert [row.event.amount.amount for row in file.rows] == ["5"]


BAD = {
    "an amount in words": ("m,1997-01-02,12 dollars", "column paid: '12 dollars' is not an amount"),
    "a comma in an amount": ('m,1997-01-02,"1,5"', "column paid: '1,5' is not an amount"),
    "a negative amount": ("m,1997-01-02,-5", "column paid: '-5' is not an amount"),
    "a purchase without an amount": ("m,1997-01-02,", "column paid: a purchase needs an amount"),
    "no member": (",1997-01-02,5", "column who: empty"),
    "a member with a slash": ("a/b,1997-01-02,5", "column who: 'a/b' is not"),
    "a day that does not exist": ("m,1997-02-29,5", "column day: '1997-02-29' is not a time"),
    "a day of no calendar": ("m,soon,5", "column day: 'soon' is not a time"),
    "a day before all days": ("m,0001-01-01,5", "column day: '0001-01-01' is not between"),
    "too few values": ("m,1997-01-02", "2 values, where the first line names 3 columns"),
    "too many values": ("m,1997-01-02,5,6", "4 values, where the first line names 3 columns"),
    "a quote that never ends": ('m,1997-01-02,"5', "this is not CSV"),
}


@pytest.mark.parametrize("line,said", BAD.values(), ids=BAD)
def test_a_bad_row_is_named_by_line_and_column(tmp_path: Path, line: str, said: str) -> None:
    file = read(tmp_path, f'who,day,paid\nm,1997-01-02,"1"\n\n{line}\n')

    assert len(file.bad) == 1
    assert str(file.bad[0]).startswith((f"line 4, {said}", f"line 4: {said}"))
    assert len(file.rows) == 1


def test_an_id_given_twice_is_a_bad_row(tmp_path: Path) -> None:
    columns = {"member": "who", "time": "day", "id": "n"}
    file = read(tmp_path, "who,day,n\na,1997-01-02,1\nb,1997-01-02,1\n", columns=columns)

    assert [str(bad) for bad in file.bad] == [
        "line 3, column n: '1' is the id of a row before, too"
    ]


UNREADABLE: dict[str, tuple[str | bytes, str]] = {
    "nothing": ("", "line 1: the names of the columns are missing"),
    "a column that is not there": ("who,day\n", "no column 'paid' for amount, but who, day"),
    "a wrong one of a million columns": (
        ",".join(f"c{n}" for n in range(10**6)),
        r"no column 'who' for member, but c0, c1.*, c19, …$",
    ),
    "a column that is there twice": ("who,day,paid,paid\n", "2 columns 'paid'"),
    "another encoding": (b"who,day,paid\n\nJos\xe9,1997-01-02,1\n", "line 3: this is not UTF-8"),
}


@pytest.mark.parametrize("text,said", UNREADABLE.values(), ids=UNREADABLE)
def test_a_file_that_cannot_be_read_is_said_so(
    tmp_path: Path, text: str | bytes, said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        read(tmp_path, text)


@pytest.mark.parametrize(
    "text,said",
    [
        ("member=a", "time is missing"),
        ("member", "'member' is not of the form"),
        ("member=", "'member=' is not of the form"),
        ("member=a,time=b,price=c", "no field 'price'"),
        ("member=a,time=b,member=c", "member is there twice"),
    ],
)
def test_a_map_that_means_nothing_is_said_so(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_columns(text)


def test_chunks_keep_each_members_order_and_end_with_the_day(tmp_path: Path) -> None:
    lines = [f"m{n % 7},1997-01-{1 + n // 40:02},{n}" for n in range(100)]
    rows = read(tmp_path, "who,day,paid\n" + "\n".join(lines) + "\n").rows
    cut = list(chunks(rows, 10, 3, by_day=True))
    orders: dict[str, list[int]] = {}
    for chunk in cut:
        for lane in chunk.lanes:
            for event in lane:
                orders.setdefault(event.member, []).append(int(event.amount.amount))
        members = [{event.member for event in lane} for lane in chunk.lanes]
        assert sum(len(some) for some in members) == len(set().union(*members))

    assert [chunk.rows for chunk in cut] == [30, 10, 30, 10, 20]
    assert [chunk.time.day for chunk in cut] == [1, 1, 2, 2, 3]
    assert orders == {f"m{m}": [n for n in range(100) if n % 7 == m] for m in range(7)}
    assert [chunk.rows for chunk in chunks(rows, 10, 3, by_day=False)] == [30, 30, 30, 10]
