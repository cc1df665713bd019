"""Decodes assessments from risk records; an unreadable record becomes a dead letter."""

from functools import partial

from services.alerts.inbound.dead_letters import nul_free
from services.alerts.inbound.decoding import TopicDecoder
from services.alerts.ports import AssessmentSeen
from shared.contracts.events import ID_LENGTH_MAX
from shared.contracts.reading import read, with_utc
from shared.contracts.risk import DECODER, RiskAssessed
from shared.kafka.batch import ConsumedRecord
from shared.kernel.errors import Invalid

BIGINT_MAX = 2**63 - 1
HORIZON_DAYS_MAX = 36_500
"""A hundred years: a larger value is an error and would exceed the range of dates."""
MONEY_MAX = 1e18
"""A thousand times the largest single amount; sums stay far below the range of a number."""
YEAR_MIN, YEAR_MAX = 1970, 9000
"""Valid years; the margin to the range of dates leaves room for due dates and cooldowns."""


def _read(record: ConsumedRecord) -> AssessmentSeen | None:
    if record.value is None:
        return None
    message = with_utc(read(DECODER, record.value), "assessed_at", "last_purchase_at")
    nul_free("value", record.value)
    _check(message)
    return AssessmentSeen((record.topic, record.partition), message, record.value)


def _check(message: RiskAssessed) -> None:
    """Check what the contract's types allow but would break a transaction or a date."""
    if not 0 < len(message.customer_id) <= ID_LENGTH_MAX:
        raise Invalid("customer_id", f"must have 1 to {ID_LENGTH_MAX} characters")
    for field, value, most in (
        ("revision", message.revision, BIGINT_MAX),
        ("received_ms", message.received_ms, BIGINT_MAX),
        ("horizon_days", message.horizon_days, HORIZON_DAYS_MAX),
    ):
        if not 0 <= value <= most:
            raise Invalid(field, f"must be 0 to {most}")
    if message.lapse is not None and not 0 < message.lapse.days <= HORIZON_DAYS_MAX:
        raise Invalid("lapse.days", f"must be above 0 and at most {HORIZON_DAYS_MAX}")
    for field, number, bound in (
        ("days_silent", message.days_silent, HORIZON_DAYS_MAX),
        ("usual_gap_days", message.usual_gap_days, HORIZON_DAYS_MAX),
        ("expected_value", message.expected_value, MONEY_MAX),
        ("value_at_risk", message.value_at_risk, MONEY_MAX),
    ):
        if number is not None and not abs(number) <= bound:
            raise Invalid(field, f"must be {-bound:g} to {bound:g}")
    row = message.feature_row
    if row is not None and not all(v is None or abs(v) <= MONEY_MAX for v in row.values):
        raise Invalid("feature_row", f"must have values of {-MONEY_MAX:g} to {MONEY_MAX:g}")
    for field, at in (
        ("assessed_at", message.assessed_at),
        ("last_purchase_at", message.last_purchase_at),
    ):
        if at is not None and not YEAR_MIN <= at.year <= YEAR_MAX:
            raise Invalid(field, f"must have a year of {YEAR_MIN} to {YEAR_MAX}")


RiskDecoder = partial(TopicDecoder, read=_read)
"""`RiskDecoder(dead_letter_topic)` decodes batches of `ebbwatch.risk`."""
