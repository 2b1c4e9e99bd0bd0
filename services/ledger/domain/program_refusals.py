"""Refusals about organizations, programs and what they are configured to do."""

from datetime import datetime

from kernel.refusals import Refusal


class OrganizationNotFound(Refusal):
    """The caller's organization is not registered."""

    reason = "ORGANIZATION_NOT_FOUND"

    def __init__(self, organization: str) -> None:
        super().__init__(f"there is no organization {organization!r}", organization=organization)


class OrganizationExists(Refusal):
    """An organization of that id exists and was created differently."""

    reason = "ORGANIZATION_EXISTS"

    def __init__(self, organization: str) -> None:
        super().__init__(f"organization {organization!r} exists", organization=organization)


class ProgramExists(Refusal):
    """A program of that id exists and was created differently."""

    reason = "PROGRAM_EXISTS"

    def __init__(self, program: str) -> None:
        super().__init__(f"program {program!r} exists", program=program)


class CurrencyExists(Refusal):
    """The program has another currency of that id."""

    reason = "CURRENCY_EXISTS"

    def __init__(self, currency: str) -> None:
        super().__init__(f"currency {currency!r} exists", currency=currency)


class CounterExists(Refusal):
    """The program has another counter of that id."""

    reason = "COUNTER_EXISTS"

    def __init__(self, counter: str) -> None:
        super().__init__(f"counter {counter!r} exists", counter=counter)


class ClockGoesBack(Refusal):
    """A sandbox's clock only moves forward."""

    reason = "CLOCK_GOES_BACK"

    def __init__(self, now: datetime) -> None:
        super().__init__(
            "a sandbox's clock only moves forward", now=now.isoformat().replace("+00:00", "Z")
        )


class SettingFixed(Refusal):
    """The setting can no longer be changed."""

    reason = "SETTING_FIXED"

    def __init__(self, field: str) -> None:
        super().__init__(f"{field} can no longer be changed", field=field)


class RevisionNotFound(Refusal):
    """The program has no such revision."""

    reason = "REVISION_NOT_FOUND"

    def __init__(self, revision: int) -> None:
        super().__init__(f"there is no revision {revision}", revision=revision)
