"""The kinds of data that scoring stores, and for how long."""

from collections.abc import Sequence

from services.scoring.settings import ScoringSettings
from shared.runtime.held import UNTIL_ERASED, Kind, for_days


def kinds() -> Sequence[Kind]:
    """Return the kinds, with the retention of the settings in force."""
    settings = ScoringSettings()
    events = for_days(settings.event_retention_days, settings.variable("event_retention_days"))
    assessments = for_days(
        settings.assessment_retention_days, settings.variable("assessment_retention_days")
    )
    audit = for_days(settings.audit_retention_days, "EBBWATCH_AUDIT_RETENTION_DAYS")
    return (
        Kind("events", "event", "recorded_at", events),
        Kind("keys of events", "event_key", "recorded_on", UNTIL_ERASED),
        Kind("customers: behaviour and assessment", "customer_state", None, UNTIL_ERASED),
        Kind("customers: profile", "profile", None, UNTIL_ERASED),
        Kind("customers: classification", "standing", None, UNTIL_ERASED),
        Kind("published assessments", "assessment_history", "recorded_at", assessments),
        Kind("changes of classification", "standing_change", "recorded_at", assessments),
        Kind("treatments", "treatment", "at", UNTIL_ERASED),
        Kind("samples for judging the model", "roll_call", "called_at", UNTIL_ERASED),
        Kind("refusals to be assessed", "profiling", "refused_at", UNTIL_ERASED),
        Kind("audit", "audit", "at", audit),
    )
