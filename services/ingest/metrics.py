"""Every metric of ingest, declared once. No label contains a customer or an owner.

Labels come from bounded sets: any other value becomes `other`. Of what is sent, only the names of
at most 50 sources are labels.
"""

import re
from collections.abc import Mapping

import msgspec
from prometheus_client import Counter, Gauge, Histogram

from services.ingest.core.accept import Event
from services.ingest.core.source_clocks import SourceReport
from shared.contracts.events import CONTROL_TYPES, DATA_BY_TYPE
from shared.observability.collectors import begin
from shared.observability.service_metrics import ServiceMetrics

SERVICE = ServiceMetrics(
    "ingest",
    "its acknowledgement on the activity topic",
    ("decide", "wait", "send", "commit"),
    outbox=False,
)
ACCEPTED = Counter("ebbwatch_ingest_events", "Events accepted", ["type"])
NOTED = Counter(
    "ebbwatch_ingest_noted",
    "Of accepted records: unknown fields (`other`), times pulled back (`time`)",
    ["field"],
)
DEAD_LETTERS = Counter("ebbwatch_ingest_dead_letters", "Records refused", ["stage", "field"])
BATCH_SECONDS = Histogram(
    "ebbwatch_ingest_batch_seconds",
    "One batch from its reading on: decide, wait for the one before, send, commit",
    # Ingest's share of the promised second from event to task.
    buckets=(0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5),
)
IGNORED = Counter("ebbwatch_ingest_ignored", "Records that a mapping's rule ignores", ["mapping"])
VERSION = Gauge("ebbwatch_ingest_mapping_version", "Version in force", ["mapping"])
UNUSABLE = Gauge(
    "ebbwatch_ingest_mappings_unusable",
    "Stored mappings that cannot be compiled; their topics wait: alert on it",
)
STOPPED = Gauge("ebbwatch_ingest_stopped", "1 while a flood of refusals holds the intake")
HTTP_EVENTS = Counter("ebbwatch_ingest_http_events", "Events sent over HTTP", ["outcome"])
HTTP_RECORDS = Counter(
    "ebbwatch_ingest_http_records",
    "Records of sources with a mapping, sent over HTTP",
    ["source", "outcome"],
)
HTTP_UNSIGNED = Counter(
    "ebbwatch_ingest_http_unsigned", "Requests to sources without a genuine signature"
)
HTTP_REFUSED = Counter(
    "ebbwatch_ingest_http_refused",
    "Events refused over HTTP: kept as dead letters, known already, or dropped (bytes a minute)",
    ["outcome"],
)
SOURCE_EVENTS = Counter(
    "ebbwatch_ingest_source_events",
    "Live events by source: accepted, or refused as dated after their arrival (`future`)",
    ["source", "outcome"],
)
SOURCE_SKEW = Gauge(
    "ebbwatch_ingest_source_skew_seconds",
    "Median of the newest events' time minus arrival by source; negative: before it",
    ["source"],
)
SOURCE_WRONG = Gauge(
    "ebbwatch_ingest_source_clock_wrong",
    "1 while a source's clock seems wrong: alert on it",
    ["source"],
)
INDEXED = Counter("ebbwatch_ingest_dead_letters_indexed", "Dead letters stored", ["stage"])

STAGES = frozenset({"ingest", "scoring", "alerts"})
OTHER = "other"

FIELDS = frozenset(
    {"value", "content-type", "ebbwatch-backfill", "ebbwatch-source", "match", "each"}
    | {field.name for field in msgspec.structs.fields(Event)}
    | {
        f"data.{field.name}"
        for shape in DATA_BY_TYPE.values()
        for field in msgspec.structs.fields(shape)
    }
)
"""The values of the label `field`: a sender can name anything, these are the known ones."""

_INDEX = re.compile(r"\[.*?\]")


def field_label(field: str) -> str:
    """Converts a fault's path to a label: without indices, two levels deep, of a bounded set.

    >>> field_label("data.items[3].quantity"), field_label("data.what")
    ('data.items', 'other')
    """
    label = ".".join(_INDEX.sub("", field).split(".")[:2])
    return label if label in FIELDS else OTHER


def stage_label(stage: str) -> str:
    """Converts a dead letter's stage to a label."""
    return stage if stage in STAGES else OTHER


def mappings_in_force(versions: Mapping[str, int], unusable: int) -> None:
    """Sets the version of each mapping by name, and how many cannot be compiled."""
    VERSION.clear()
    for name, version in versions.items():
        VERSION.labels(name).set(version)
    UNUSABLE.set(unusable)


def observe_source(report: SourceReport) -> None:
    """Updates the metrics of one source."""
    SOURCE_EVENTS.labels(report.source, "accepted").inc(report.accepted)
    SOURCE_EVENTS.labels(report.source, "future").inc(report.future)
    SOURCE_WRONG.labels(report.source).set(report.fault is not None)
    if report.median_s is not None:
        SOURCE_SKEW.labels(report.source).set(report.median_s)


QUARANTINED = Counter(
    "ebbwatch_ingest_quarantined_records_total",
    "Records set aside because process after process ended on them: alert on it",
    ["topic"],
)


def http_records(source: str, outcome: str, count: int) -> None:
    """Counts records of an HTTP source; its name is bounded, since it has a mapping."""
    if count:
        HTTP_RECORDS.labels(source, outcome).inc(count)


begin(ACCEPTED, (*DATA_BY_TYPE, *sorted(CONTROL_TYPES)))
begin(NOTED, sorted({*FIELDS, OTHER}))
begin(DEAD_LETTERS, ["ingest"], sorted({*FIELDS, OTHER}))
begin(HTTP_EVENTS, ["accepted", "ignored", "refused", "noted"])
begin(HTTP_REFUSED, ["kept", "known", "dropped"])
begin(INDEXED, sorted({*STAGES, OTHER}))
