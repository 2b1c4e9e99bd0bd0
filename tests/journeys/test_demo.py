"""What `make demo` shows: always the same two years, and a story that can be read."""

import io
import os
import random
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from rich.console import Console

from services.demo import FIRST, LAST, SEED, own_suite, purchases, show


def test_the_purchases_are_the_same_every_time() -> None:
    made = purchases(random.Random(SEED))
    days = {one.time.date() for one in made}

    assert made == purchases(random.Random(SEED))
    assert len(made) == 2159
    assert FIRST <= min(days) <= max(days) < LAST
    assert min(one.amount for one in made) >= 100


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_the_story_tells_what_happened_to_a_member() -> None:
    made = purchases(random.Random(SEED))
    # The member who bought most often, and another one, are enough here.
    (often, _), (other, _), *_ = Counter(
        one.member for one in made if one.amount > 9000
    ).most_common()
    some = [one for one in made if one.member in {often, other}]
    said = io.StringIO()
    console = Console(file=said, width=120)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o711)
        with own_suite(folder) as environment:
            show(folder, environment, console, random.Random(SEED), some)
            home = environment["LOYALTY_HOME"]
        assert not (Path(home) / "running.json").exists()
    story = said.getvalue()
    print(story)

    for part in (
        "The story of ",
        "joins the program",
        "is Bronze from now on: a point a dollar",
        "becomes Silver, having spent ",
        "becomes Gold, having spent ",
        "points expire, unused for a year",
        "On 1 January 2026 ",
        "If nothing is redeemed, these expire next:",
        "belongs to these audiences:",
    ):
        assert part in story
    assert os.path.commonpath([home, name]) == name
