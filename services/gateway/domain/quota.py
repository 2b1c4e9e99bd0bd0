"""How many calls a credential may make: a token bucket for each."""

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass


@dataclass(slots=True)
class _Bucket:
    tokens: float
    time: float


class Quota:
    """Token buckets that hold `burst` calls and gain `rate` calls a second.

    Keeps at most `size` buckets and forgets the one used longest ago, which errs in the caller's
    favour. A rate of 0 means no limit.
    """

    def __init__(self, rate: float, burst: int, size: int = 100_000) -> None:
        self.rate = rate
        self.burst = burst
        self._size = size
        self._buckets: OrderedDict[Hashable, _Bucket] = OrderedDict()

    def take(self, key: Hashable, now: float) -> float:
        """Take one call at `now` (seconds, monotonic): 0, or the seconds until one is free."""
        if self.rate <= 0:
            return 0.0
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = _Bucket(float(self.burst), now)
            if len(self._buckets) > self._size:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(key)
            gained = max(0.0, now - bucket.time) * self.rate
            bucket.tokens = min(float(self.burst), bucket.tokens + gained)
            bucket.time = now
        if bucket.tokens < 1.0:
            return (1.0 - bucket.tokens) / self.rate
        bucket.tokens -= 1.0
        return 0.0

    def __len__(self) -> int:
        return len(self._buckets)
