"""Currencies and counters, and that every change of a program is one published revision."""

import asyncio
import json
from typing import Any

from loyalty.ledger.v1 import program_pb2
from tests.ledger.programs_kit import LedgerUnderTest, refusal

Settings = program_pb2.ProgramSettings
General = program_pb2.GeneralSettings
Points = program_pb2.PointsSettings
SEVERAL = Settings(currencies=program_pb2.CurrenciesSettings(alternate=True))


async def update(ledger: LedgerUnderTest, **fields: Any) -> None:
    """Update the settings of `p1`."""
    request = program_pb2.UpdateProgramSettingsRequest(program="p1", **fields)
    await ledger.programs.UpdateProgramSettings(request)


async def test_every_change_is_one_immutable_revision_with_actor_and_reason(
    ledger: LedgerUnderTest,
) -> None:
    await ledger.create_program("p1", settings=SEVERAL)
    await update(ledger, settings=Settings(points=Points(daily_cap=1)), reason="spring")
    await ledger.programs.CreateCurrency(
        program_pb2.CreateCurrencyRequest(program="p1", currency_id="miles")
    )
    await ledger.programs.CreateCounter(
        program_pb2.CreateCounterRequest(program="p1", counter_id="visits")
    )

    rows = await ledger.rows.fetch(
        "SELECT revision, actor, reason, config FROM program_revision ORDER BY revision"
    )

    assert [(row["revision"], row["actor"], row["reason"]) for row in rows] == [
        (1, "tester", "created"),
        (2, "tester", "spring"),
        (3, "tester", "currency miles"),
        (4, "tester", "counter visits"),
    ]
    assert json.loads(rows[1]["config"])["daily_cap"] == 1
    assert "daily_cap" not in json.loads(rows[0]["config"])
    assert json.loads(rows[3]["config"])["counters"] == [{"id": "visits"}]


async def test_changes_are_published_without_gaps_in_one_bucket_of_the_program(
    ledger: LedgerUnderTest,
) -> None:
    await ledger.create_program("p1", settings=SEVERAL)

    await asyncio.gather(
        *[
            ledger.programs.CreateCounter(
                program_pb2.CreateCounterRequest(program="p1", counter_id=f"c{n}")
            )
            for n in range(10)
        ]
    )
    rows = await ledger.rows.fetch(
        "SELECT bucket, sequence, revision FROM program_change ORDER BY sequence"
    )
    head = await ledger.rows.fetchval(
        "SELECT sequence FROM head WHERE bucket = $1", rows[0]["bucket"]
    )

    assert len({row["bucket"] for row in rows}) == 1
    assert [row["sequence"] for row in rows] == list(range(1, 12))
    assert [row["revision"] for row in rows] == list(range(1, 12))
    assert head == 11


async def test_currencies_and_counters_keep_their_places(ledger: LedgerUnderTest) -> None:
    await ledger.create_program("p1", settings=SEVERAL)
    for name in ("z", "a"):
        await ledger.programs.CreateCurrency(
            program_pb2.CreateCurrencyRequest(
                program="p1", currency_id=name, currency=program_pb2.Currency(daily_cap=0, scale=2)
            )
        )
        await ledger.programs.CreateCounter(
            program_pb2.CreateCounterRequest(
                program="p1", counter_id=name, counter=program_pb2.Counter(unit="visits")
            )
        )
    await update(ledger, settings=Settings(program=General(auto_enrol=True)))

    currencies = await ledger.programs.ListCurrencies(
        program_pb2.ListCurrenciesRequest(program="p1")
    )
    counters = await ledger.programs.ListCounters(program_pb2.ListCountersRequest(program="p1"))

    assert [currency.currency for currency in currencies.currencies] == ["points", "z", "a"]
    assert currencies.currencies[1].HasField("daily_cap")
    assert not currencies.currencies[1].HasField("monthly_cap")
    assert [(counter.counter, counter.unit) for counter in counters.counters] == [
        ("z", "visits"),
        ("a", "visits"),
    ]


async def test_currencies_and_counters_are_created_again_only_if_equal(
    ledger: LedgerUnderTest,
) -> None:
    await ledger.create_program("p1", settings=SEVERAL)
    miles = program_pb2.CreateCurrencyRequest(
        program="p1", currency_id="miles", currency=program_pb2.Currency(scale=2)
    )
    visits = program_pb2.CreateCounterRequest(
        program="p1", counter_id="visits", counter=program_pb2.Counter(unit="visits")
    )

    first = [
        await ledger.programs.CreateCurrency(miles),
        await ledger.programs.CreateCounter(visits),
    ]
    again = [
        await ledger.programs.CreateCurrency(miles),
        await ledger.programs.CreateCounter(visits),
    ]
    miles.currency.scale = 3
    visits.counter.unit = "stays"
    refused = [
        await refusal(ledger.programs.CreateCurrency(miles)),
        await refusal(ledger.programs.CreateCounter(visits)),
    ]
    miles.currency_id = "other"
    miles.currency.expiry = "none-such"
    unknown = await refusal(ledger.programs.CreateCurrency(miles))

    assert first == again
    assert [each.reason for each in refused] == ["CURRENCY_EXISTS", "COUNTER_EXISTS"]
    assert unknown.reason == "EXPIRY_STRATEGY_NOT_FOUND"


async def test_a_program_has_at_most_32_currencies_even_if_they_race(
    ledger: LedgerUnderTest,
) -> None:
    await ledger.create_program("p1", settings=SEVERAL)

    answers = await asyncio.gather(
        *[
            ledger.programs.CreateCurrency(
                program_pb2.CreateCurrencyRequest(program="p1", currency_id=f"c{n}")
            )
            for n in range(34)
        ],
        return_exceptions=True,
    )
    refused = await refusal(
        ledger.programs.CreateCurrency(
            program_pb2.CreateCurrencyRequest(program="p1", currency_id="more")
        )
    )

    assert sum(isinstance(answer, BaseException) for answer in answers) == 3
    assert (refused.reason, refused.metadata) == (
        "LIMIT_REACHED",
        {"limit_name": "currencies", "limit": "32", "count": "32"},
    )
