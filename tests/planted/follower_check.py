"""A check of followers, run by `test_planted_follower.py` in a process of its own."""

from typing import Any

import pytest

from services.audience.store import profiles
from tests.audience.audience_kit import AudienceUnderTest
from tests.audience.conftest import audience_database, ledger, suite

__all__ = ["audience_database", "ledger", "suite"]


class Broken(Exception):
    """The process dies here."""


async def test_an_effect_that_failed_is_made_up_for(
    suite: AudienceUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    save, crashes = profiles.save, 0

    async def crash(*arguments: Any) -> None:
        nonlocal crashes
        if crashes < 3:
            crashes += 1
            raise Broken
        await save(*arguments)

    monkeypatch.setattr(profiles, "save", crash)
    for _ in range(4):
        await suite.earn_many([(f"m{number}", 10) for number in range(20)])
    await suite.settled()

    assert crashes == 3
    await suite.assert_profiles_agree()
