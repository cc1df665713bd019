"""The environment variables that each service reads, from its settings classes."""

from services.alerts.settings import AlertsSettings
from services.ingest.settings import IngestSettings
from services.scoring.settings import ScoringSettings
from shared.kafka.settings import KafkaSettings
from shared.observability.otlp import TracingSettings
from shared.postgres.settings import PostgresSettings
from shared.runtime.settings import Settings

SECRETS_DIR = "EBBWATCH_SECRETS_DIR"
SERVICES: dict[str, type[Settings]] = {
    "ingest": IngestSettings,
    "scoring": ScoringSettings,
    "alerts": AlertsSettings,
}


def variables(service: str) -> set[str]:
    """Return the names that a service reads, its connections and traces included."""
    found = {SECRETS_DIR}
    for settings in (SERVICES[service], KafkaSettings, PostgresSettings, TracingSettings):
        prefix = settings.model_config.get("env_prefix", "")
        for name, field in settings.model_fields.items():
            alias = field.validation_alias
            found.add(alias if isinstance(alias, str) else f"{prefix}{name}".upper())
    return found


ANY = frozenset().union(*(variables(name) for name in SERVICES))
"""What any service reads: a ConfigMap that all share may have each of them."""
