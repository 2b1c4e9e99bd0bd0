"""Refusals of the tiers."""

from kernel.refusals import Refusal


class LadderNotFound(Refusal):
    """The program has no such ladder."""

    reason = "LADDER_NOT_FOUND"

    def __init__(self, ladder: str) -> None:
        super().__init__(f"there is no ladder {ladder!r}", ladder=ladder)


class LadderExists(Refusal):
    """A ladder of that id exists and was created differently."""

    reason = "LADDER_EXISTS"

    def __init__(self, ladder: str) -> None:
        super().__init__(f"ladder {ladder!r} exists", ladder=ladder)


class TierInUse(Refusal):
    """Members stand on a tier that would be taken out."""

    reason = "TIER_IN_USE"

    def __init__(self, tier: str) -> None:
        super().__init__(f"members stand on tier {tier!r}", tier=tier)
