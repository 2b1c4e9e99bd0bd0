"""Our own count of calls in flight.

`maximum_concurrent_rpcs` of grpc queues before it refuses and has leaked its count; this refuses at
once and counts what it admitted.
"""


class Limit:
    """How many there are now and at most; used by one event loop, so that it needs no lock."""

    __slots__ = ("most", "now")

    def __init__(self, most: int) -> None:
        self.most = most
        self.now = 0
