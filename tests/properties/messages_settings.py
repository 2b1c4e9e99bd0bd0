"""The reference model's settings as the ledger's messages."""

from datetime import date

from google.type import date_pb2

from loyalty.ledger.v1 import program_pb2, resources_pb2
from tests.properties.messages import stamp
from tests.properties.model_shapes import Limits, Settings, Strategy

# What may change after a program was made; the rest is fixed by its first posting, or by its lots.
CHANGEABLE = (
    "points.maximum_balance",
    "points.daily_cap",
    "points.monthly_cap",
    "points.default_expiry",
    "points.pending_conversion",
    "points.expiry_notice_days",
    "redemption.minimum_balance",
    "redemption.step",
    "redemption.conversion_rate",
    "redemption.until",
    "redemption.reversal",
    "redemption.reversal_grace_days",
    "returns.policy",
    "returns.debt_floor",
    "transfer.enabled",
    "transfer.minimum",
    "transfer.maximum",
    "transfer.monthly_count",
    "transfer.monthly_points",
    "transfer.minimum_age_days",
    "limits.period",
    "program.auto_enrol",
    "program.start",
    "program.end",
)


def day_message(day: date | None) -> date_pb2.Date | None:
    """A local date; None stays unset."""
    return None if day is None else date_pb2.Date(year=day.year, month=day.month, day=day.day)


def strategy_message(strategy: Strategy) -> resources_pb2.ExpiryStrategy:
    """An expiry strategy."""
    return resources_pb2.ExpiryStrategy(
        strategy=strategy.name,
        kind=resources_pb2.ExpiryStrategy.Kind.Value(strategy.kind),
        days=strategy.days,
        months=strategy.months,
        round_to=resources_pb2.ExpiryStrategy.RoundTo.Value(
            strategy.round_to or "ROUND_TO_UNSPECIFIED"
        ),
        date=day_message(strategy.day),
    )


def settings_message(settings: Settings) -> program_pb2.ProgramSettings:
    """All settings of a program that the model knows of."""
    limits = settings.limits
    period = "BILLING_MONTH" if settings.billing_month else "CALENDAR_MONTH"
    return program_pb2.ProgramSettings(
        program=program_pb2.GeneralSettings(
            time_zone=str(settings.zone),
            currency_code=settings.money,
            auto_enrol=settings.auto_enrol,
            start=stamp(settings.start),
            end=stamp(settings.end),
        ),
        points=program_pb2.PointsSettings(
            maximum_balance=limits.maximum_balance,
            daily_cap=limits.daily_cap,
            monthly_cap=limits.monthly_cap,
            expiry=[strategy_message(strategy) for strategy in settings.strategies],
            default_expiry=settings.default_expiry,
            pending_conversion=settings.pending_conversion,
            expiry_notice_days=settings.notice_days,
        ),
        redemption=program_pb2.RedemptionSettings(
            minimum_balance=settings.minimum_balance,
            step=settings.step,
            conversion_rate=settings.rate,
            until=stamp(settings.redeem_until),
            reversal=settings.redemption_reversal,
            reversal_grace_days=settings.grace_days,
        ),
        returns=program_pb2.ReturnsSettings(
            policy=program_pb2.ReturnsSettings.Policy.Value(settings.returns_policy),
            debt_floor=settings.debt_floor,
        ),
        transfer=program_pb2.TransferSettings(
            enabled=settings.transfer_enabled,
            minimum=settings.transfer_minimum,
            maximum=settings.transfer_maximum,
            monthly_count=settings.transfer_count,
            monthly_points=settings.transfer_points,
            minimum_age_days=settings.transfer_age_days,
        ),
        limits=program_pb2.LimitsSettings(period=program_pb2.LimitsSettings.Period.Value(period)),
        currencies=program_pb2.CurrenciesSettings(alternate=len(settings.currencies) > 1),
    )


def currency_message(settings: Settings, currency: str) -> program_pb2.Currency:
    """A currency with what it overrides."""
    own = dict(settings.overrides).get(currency, Limits())
    return program_pb2.Currency(
        maximum_balance=own.maximum_balance,
        daily_cap=own.daily_cap,
        monthly_cap=own.monthly_cap,
        expiry=dict(settings.currency_expiry).get(currency, ""),
    )
