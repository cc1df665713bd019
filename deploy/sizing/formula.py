"""Calculates replicas, partitions and storage from a load and measured figures. No effects.

Every result is a floor with headroom, not a promise: measure again on your own machines with
`make bench`, and put your figures into a copy of `figures.json`.
"""

import math
from dataclasses import dataclass
from typing import Final

from shared.contracts import topics
from shared.contracts.topics import Topic

DAY_S: Final = 86_400
BUSY_SHARE: Final = 0.5
"""Share of its measured speed that a process is planned to use: the other half catches up after a
stop, and other machines are slower."""
REPLICAS_MIN: Final = 2
"""One may end, or be replaced by the next release, while the other works."""
DISK_SHARE: Final = 0.7
"""Share of a disk that is planned to be full: the rest is for vacuum, indexes built anew, and the
time until it is extended."""
COPIES: Final = 3
"""Copies of a Kafka partition, as `python -m deploy.local topics` makes them."""
GIB: Final = 1024**3


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Measured figures; `figures.json` has the source of each."""

    ingest_events_per_s: float
    """Of one process, and so on."""
    scoring_events_per_s: float
    sweep_customers_per_s: float
    alerts_assessments_per_s: float
    postgres_cpu_s_per_event: float
    postgres_cpu_s_per_assessment: float
    assessments_per_customer_and_day: float
    """Published ones."""
    tasks_per_customer_and_day: float
    postgres_bytes_per_event: float
    postgres_bytes_per_customer: float
    postgres_bytes_per_assessment: float
    postgres_bytes_per_task: float
    kafka_raw_bytes_per_event: float
    kafka_activity_bytes_per_event: float
    kafka_risk_bytes_per_assessment: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What is expected; all numbers above 0."""

    events_per_s: float
    """On average over a day."""
    peak: float
    """The busiest minute's rate divided by the average."""
    customers: int
    retention_days: float
    """Days that events stay in PostgreSQL (`EBBWATCH_SCORING_EVENT_RETENTION_DAYS`)."""
    assessment_days: float
    """Days that assessments stay (`EBBWATCH_SCORING_ASSESSMENT_RETENTION_DAYS`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """What it takes."""

    ingest_replicas: int
    scoring_replicas: int
    alerts_replicas: int
    partitions: int
    """Of each topic; never fewer than the replicas of a service."""
    postgres_cores: int
    postgres_gib: int
    kafka_gib: int
    """On all brokers together, with every copy."""


def sized(load: Load, figures: Figures) -> Size:
    """Returns the size for a load: more load never needs less of anything."""
    peak = load.events_per_s * load.peak
    assessed = _assessments_per_s(load, figures)
    ingest = _replicas(peak / figures.ingest_events_per_s)
    scoring = _replicas(
        peak / figures.scoring_events_per_s + _swept_per_s(load) / figures.sweep_customers_per_s
    )
    alerts = _replicas(assessed * load.peak / figures.alerts_assessments_per_s)
    cores = (
        peak * figures.postgres_cpu_s_per_event
        + assessed * load.peak * figures.postgres_cpu_s_per_assessment
    )
    return Size(
        ingest_replicas=ingest,
        scoring_replicas=scoring,
        alerts_replicas=alerts,
        partitions=max(topics.ACTIVITY.partitions, ingest, scoring, alerts),
        postgres_cores=max(1, math.ceil(cores / BUSY_SHARE)),
        postgres_gib=_gib(_postgres_bytes(load, figures, assessed)),
        kafka_gib=_gib(_kafka_bytes(load, figures)),
    )


def _replicas(busy: float) -> int:
    """Returns how many processes do work that keeps `busy` of them fully occupied."""
    return max(REPLICAS_MIN, math.ceil(busy / BUSY_SHARE))


def _swept_per_s(load: Load) -> float:
    """Returns customers assessed for their silence in a second: each once a day at most."""
    return load.customers / DAY_S


def _assessments_per_s(load: Load, figures: Figures) -> float:
    return load.customers * figures.assessments_per_customer_and_day / DAY_S


def _postgres_bytes(load: Load, figures: Figures, assessed: float) -> float:
    events = load.events_per_s * DAY_S * load.retention_days
    assessments = assessed * DAY_S * load.assessment_days
    tasks = load.customers * figures.tasks_per_customer_and_day * load.assessment_days
    return (
        events * figures.postgres_bytes_per_event
        + load.customers * figures.postgres_bytes_per_customer
        + assessments * figures.postgres_bytes_per_assessment
        + tasks * figures.postgres_bytes_per_task
    )


def _kafka_bytes(load: Load, figures: Figures) -> float:
    per_day = load.events_per_s * DAY_S
    raw = per_day * _kept_days(topics.RAW) * figures.kafka_raw_bytes_per_event
    activity = per_day * _kept_days(topics.ACTIVITY) * figures.kafka_activity_bytes_per_event
    # Compacted: the newest of each customer, and as much again that is not cleaned yet.
    risk = 2 * load.customers * figures.kafka_risk_bytes_per_assessment
    return COPIES * (raw + activity + risk)


def _kept_days(topic: Topic) -> float:
    return 0.0 if topic.retention is None else topic.retention.total_seconds() / DAY_S


def _gib(size: float) -> int:
    return max(1, math.ceil(size / DISK_SHARE / GIB))
