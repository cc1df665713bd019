"""The kinds of data that ingest stores, and for how long."""

from collections.abc import Sequence

from services.ingest.settings import IngestSettings
from shared.http.idempotency import KEPT
from shared.runtime.held import Kind, for_days


def kinds() -> Sequence[Kind]:
    """Return the kinds, with the retention of the settings in force."""
    settings = IngestSettings()
    contents = for_days(
        settings.dead_letter_content_days, settings.variable("dead_letter_content_days")
    )
    audit = for_days(settings.audit_retention_days, "EBBWATCH_AUDIT_RETENTION_DAYS")
    return (
        Kind("dead letters", "dead_letter", "recorded_at", f"content {contents} once settled"),
        Kind("answers to repeated requests", "idempotency", "created_at", f"{KEPT}"),
        Kind("audit", "audit", "at", audit),
    )
