"""Reads the settings of the services, as they do, and judges whether they fit one another."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar, cast

from pydantic import SecretStr, ValidationError
from pydantic_settings import SettingsConfigDict

from deploy.doctor.arguments import SERVICES
from deploy.doctor.findings import Finding, fail, ok
from deploy.local.waiting import LOOPBACK
from services.alerts.delivery.core.encryption_key import key_of
from services.alerts.delivery.store.encryption import Encryption
from services.alerts.settings import AlertsSettings
from services.ingest.settings import IngestSettings
from services.scoring.settings import ScoringSettings
from shared.contracts import topics
from shared.contracts.topics import Topic
from shared.kafka.settings import KafkaSettings
from shared.postgres.settings import PostgresSettings
from shared.runtime.settings import HttpSettings, Settings, problems

S = TypeVar("S", bound=Settings)


class DoctorSettings(Settings):
    """The doctor's own settings."""

    token: SecretStr | None = None

    model_config = SettingsConfigDict(env_prefix="EBBWATCH_DOCTOR_")


@dataclass(frozen=True, slots=True)
class Configured:
    """The settings of an installation, and where its processes answer."""

    kafka: KafkaSettings
    postgres: PostgresSettings
    ingest: IngestSettings
    scoring: ScoringSettings
    alerts: AlertsSettings
    services: Mapping[str, Sequence[str]]
    """Addresses of the processes, by service."""
    token: str | None

    def topics(self) -> list[Topic]:
        """Returns the contract of every topic in use, by its name in the settings."""
        named = [
            *((name, topics.RAW) for name in self.ingest.raw_topics),
            (self.ingest.activity_topic, topics.ACTIVITY),
            (self.ingest.dead_letter_topic, topics.DEAD_LETTER),
            (self.scoring.risk_topic, topics.RISK),
            (self.scoring.treatment_topic, topics.TREATMENT),
            (self.scoring.changes_topic, topics.CHANGES),
        ]
        return [replace(contract, name=name) for name, contract in dict(named).items()]

    def key_ids(self) -> list[str]:
        """Returns the ids of the keys that decrypt endpoints' secrets."""
        keys = [key_of(key.get_secret_value()) for key in self.alerts.secret_keys]
        return [found for key in keys if (found := Encryption([key]).key_id) is not None]


def read(given: Sequence[tuple[str, str]]) -> tuple[Configured, list[Finding]]:
    """Returns the settings, and what is wrong with them.

    `given`: addresses of processes from the command line. Where a service's settings cannot be
    read, its defaults stand in, so that the rest is checked.
    """
    findings: list[Finding] = []
    kafka = _read(KafkaSettings, findings)
    postgres = _read(PostgresSettings, findings)
    ingest = _read(IngestSettings, findings)
    scoring = _read(ScoringSettings, findings)
    alerts = _read(AlertsSettings, findings)
    own = _read(DoctorSettings, findings)
    urls = {
        name: [url for service, url in given if service == name] or [_own(http)]
        for name, http in zip(SERVICES, (ingest, scoring, alerts), strict=True)
    }
    token = None if own.token is None else own.token.get_secret_value()
    found = Configured(kafka, postgres, ingest, scoring, alerts, urls, token)
    if not findings:  # defaults that stand in would differ from everything
        findings += _differences(found)
    return found, findings or [ok("settings", "the services' settings can be read, and agree")]


def _read(kind: type[S], findings: list[Finding]) -> S:
    try:
        return kind()
    except ValidationError as wrong:
        findings += [
            fail("settings", problem, "set it right in the services' environment")
            for problem in problems(wrong)
        ]
        # Without an address of a database there is none that can be reached.
        values: dict[str, Any] = {"url": SecretStr("")} if kind is PostgresSettings else {}
        return cast("S", kind.model_construct(**values))


def _own(http: HttpSettings) -> str:
    """Returns a service's address on this machine, by its settings."""
    host = LOOPBACK if http.host in {"0.0.0.0", "::", ""} else http.host  # noqa: S104
    return f"http://{host}:{http.port}"


def _differences(found: Configured) -> list[Finding]:
    """Returns where one service writes a topic that the next does not read."""
    pairs = (
        ("activity_topic", found.ingest, found.scoring),
        ("activity_topic", found.ingest, found.alerts),
        ("risk_topic", found.scoring, found.alerts),
        ("changes_topic", found.scoring, found.alerts),
        ("treatment_topic", found.alerts, found.scoring),
        ("dead_letter_topic", found.ingest, found.scoring),
        ("dead_letter_topic", found.ingest, found.alerts),
    )
    return [
        fail(
            "settings",
            f"{one.variable(name)} is {getattr(one, name)}, but {other.variable(name)} is "
            f"{getattr(other, name)}: one writes what the other does not read",
            "give both the same name",
        )
        for name, one, other in pairs
        if getattr(one, name) != getattr(other, name)
    ]
