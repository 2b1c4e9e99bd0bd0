"""The audience service's refusals: a rule said no, and about what."""

from kernel.refusals import Refusal


class AudienceNotFound(Refusal):
    """The program has no such audience."""

    reason = "AUDIENCE_NOT_FOUND"

    def __init__(self, audience: str) -> None:
        super().__init__(f"there is no audience {audience!r}", audience=audience)


class AudienceExists(Refusal):
    """The program has another audience of that id."""

    reason = "AUDIENCE_EXISTS"

    def __init__(self, audience: str) -> None:
        super().__init__(f"audience {audience!r} exists", audience=audience)


class RangesOverlap(Refusal):
    """A range overlaps that of another audience of the group."""

    reason = "RANGES_OVERLAP"

    def __init__(self, audience: str, group: str) -> None:
        super().__init__(
            f"a range overlaps that of audience {audience!r}", audience=audience, group=group
        )
