"""The kinds of data that alerts stores, and for how long."""

from collections.abc import Sequence

from services.alerts.settings import AlertsSettings
from shared.runtime.held import UNTIL_ERASED, Kind, for_days


def kinds() -> Sequence[Kind]:
    """Return the kinds, with the retention of the settings in force."""
    settings = AlertsSettings()
    log = for_days(settings.delivery_log_days, settings.variable("delivery_log_days"))
    outcomes = for_days(settings.keep_days, settings.variable("keep_days"))
    feedback = for_days(settings.feedback_days, settings.variable("feedback_days"))
    tasks = for_days(settings.task_days, settings.variable("task_days"))
    messages = for_days(settings.message_days, settings.variable("message_days"))
    audit = for_days(settings.audit_retention_days, "EBBWATCH_AUDIT_RETENTION_DAYS")
    return (
        Kind("customers: profile and warnings", "customer", None, UNTIL_ERASED),
        Kind("tasks", "task", "opened_at", f"{tasks} once closed"),
        Kind("what owners did with tasks", "task_event", "recorded_at", "as its task"),
        Kind("trials", "trial", "at", UNTIL_ERASED),
        Kind("purchases, for outcomes", "purchase", "at", outcomes),
        Kind("assessments, for outcomes", "assessment", "assessed_at", outcomes),
        Kind("feedback", "feedback", "at", feedback),
        Kind("messages to customers", "customer_message", "caused_at", messages),
        Kind("unsubscriptions", "subscription", "unsubscribed_at", UNTIL_ERASED),
        Kind("wishes: consents, refusals", "wish", "at", UNTIL_ERASED),
        Kind("messages to endpoints", "delivery", "created_at", log),
        Kind("attempts to send them", "attempt", "started_at", log),
        Kind("audit", "audit", "at", audit),
    )
