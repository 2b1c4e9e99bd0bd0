"""How hard the property tests look, and the seed they print.

`HYPOTHESIS_PROFILE=long` looks for an hour or so, `raw` shows the first failure as it was found;
`LOYALTY_TEST_SEED=n` repeats what was printed.
"""

import os
import random
from collections.abc import Callable
from typing import TypeVar

from hypothesis import HealthCheck, Phase, seed, settings

PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "default")
LONG = PROFILE == "long"
PHASES = (Phase.generate,) if PROFILE == "raw" else (Phase.generate, Phase.shrink)
# Most of it for making a failure small.
TIMEOUT_SECONDS = 7200 if LONG else 600
SEED = int(os.environ.get("LOYALTY_TEST_SEED") or random.SystemRandom().randrange(2**32))

T = TypeVar("T", bound=Callable[..., object])


def effort(examples: int, steps: int = 1, longer: int = 30) -> settings:
    """So many examples of so many steps; `longer` times as many examples in the long profile."""
    return settings(
        max_examples=examples * longer if LONG else examples,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        print_blob=True,
        report_multiple_bugs=False,
        phases=PHASES,
        suppress_health_check=list(HealthCheck),
    )


def seeded(test: T, shard: int = 0) -> T:
    """Seeds a hypothesis test and says with what, for the report of a failure."""
    print(f"LOYALTY_TEST_SEED={SEED}")
    return seed(SEED + shard)(test)
