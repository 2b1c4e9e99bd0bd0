"""A follower that stores its cursors before the effects of what it followed is caught."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.planted.bugs import FOLLOWER_BUG
from tests.planted.planting import ROOT, Bug, environment
from tests.properties.effort import LONG

CHECK = Path(__file__).with_name("follower_check.py")


def outcome(bug: Bug | None) -> int:
    """The exit code of the check in a process of its own, with the bug or without."""
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(CHECK)],
        cwd=ROOT,
        env={**os.environ, **(environment(bug) if bug else {})},
        check=False,
        capture_output=True,
        timeout=300,
    )
    print(run.stdout.decode()[-2000:])
    return run.returncode


@pytest.mark.slow
@pytest.mark.skipif(not LONG, reason="planted in the long profile only")
def test_cursors_stored_before_their_effects_are_caught() -> None:
    assert outcome(None) == 0
    assert outcome(FOLLOWER_BUG) == 1
