"""Declares every metric of scoring. No label contains a customer or an owner."""

from typing import get_args

from prometheus_client import Counter, Gauge, Histogram

from services.scoring.core.value.quality import MEANINGS
from shared.contracts.events import CONTROL_TYPES, DATA_BY_TYPE
from shared.contracts.risk import BANDS
from shared.contracts.treatment import TreatmentKind
from shared.observability.collectors import BatchHistogram, ScrapeGauge, begin
from shared.observability.service_metrics import (
    LATENCY_BUCKETS_S,
    SHARED_BY_ALL,
    ServiceMetrics,
)

SERVICE = ServiceMetrics(
    "scoring",
    "the committed assessment",
    ("decode", "load", "assess", "write", "commit", "send"),
)
EVENTS = Counter("ebbwatch_scoring_events", "Events that changed a customer's state", ["type"])
ASSESSMENTS = Counter("ebbwatch_scoring_assessments", "Assessments made", ["band"])
QUALITY_FLAGS = Counter(
    "ebbwatch_scoring_quality_flags",
    "Assessments that found this flag; over all assessments: the share of flawed data",
    ["flag"],
)
PUBLISHED = Counter("ebbwatch_scoring_risk_messages", "Assessments published to the risk topic")
DEAD_LETTERS = Counter("ebbwatch_scoring_dead_letters", "Events refused by scoring")
ERASURES = Counter("ebbwatch_scoring_erasures", "Requests to erase a customer, carried out")
ERASED_EVENTS = Counter(
    "ebbwatch_scoring_erased_events",
    "Events dropped because they are older than the erasure of their customer",
)
BATCH_SECONDS = Histogram(
    "ebbwatch_scoring_batch_seconds",
    "One batch: read, fold, assess, write, commit, send",
    # Around the promised second from event to task.
    buckets=(0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1, 2, 5),
)
PROBABILITY = BatchHistogram(
    "ebbwatch_scoring_probability_ratio",
    "Distribution of the assessed churn probability",
    [tenth / 10 for tenth in range(1, 11)],
)
PARTITIONS = Gauge("ebbwatch_scoring_partitions", "Partitions that this process owns")
PARTITIONS_STOPPED = Gauge(
    "ebbwatch_scoring_partitions_stopped", "Owned partitions that wait for an operator's decision"
)
SOURCES_STOPPED = Gauge(
    "ebbwatch_scoring_sources_stopped_partitions",
    "Owned partitions in which a source of purchases has stopped delivering: the warnings of its "
    "customers' silence are held",
    ["worker", "source"],
)
BACKFILLS = Gauge(
    "ebbwatch_scoring_backfill_partitions", "Owned partitions whose sweep is paused by an import"
)
HISTORY_PARTITIONS = Gauge(
    "ebbwatch_scoring_history_partitions", "Partitions of a table kept by time", ["table"]
)
HISTORY_AHEAD_SECONDS = Gauge(
    "ebbwatch_scoring_history_ahead_seconds",
    "How long rows will still find a partition of their time; 0 or less: they lie in the rest",
    ["table"],
)
HISTORY_REST = Gauge(
    "ebbwatch_scoring_history_rest", "1 while rows lie outside every partition", ["table"]
)
HISTORY_DROPPED = Counter(
    "ebbwatch_scoring_history_dropped_partitions", "Partitions past their retention", ["table"]
)
MODEL = ScrapeGauge(
    "ebbwatch_scoring_model_info",
    "1, with the model that serves: its version, how it scores (method: model, pooled or rule) and "
    "its family",
    ("version", "method", "family"),
)
MODEL_AGE = ScrapeGauge(
    "ebbwatch_scoring_model_age_seconds",
    "Since the serving model was made; 0 while the rule serves, which learns nothing",
)
FEATURE_AGE = ScrapeGauge(
    "ebbwatch_scoring_feature_age_seconds",
    "Since the newest event that this process has folded into features happened; no series before "
    "its first",
)
SILENCE_DUE = Gauge(
    "ebbwatch_scoring_silence_due_customers",
    f"Customers whose time to be assessed without an event has come ({SHARED_BY_ALL})",
)
SILENCE_OLDEST_DUE = Gauge(
    "ebbwatch_scoring_silence_oldest_due_seconds",
    "How long ago the time of the first of these customers came; 0 while none is due "
    f"({SHARED_BY_ALL})",
)
LAST_LOOK_AGE = ScrapeGauge(
    "ebbwatch_scoring_last_look_age_seconds",
    "Since this process last assessed the due customers of its partitions, or found none; without "
    "partitions no series",
)
ASSESSMENT_LATENCY = BatchHistogram(
    "ebbwatch_scoring_assessment_latency_seconds",
    "From the arrival of a live event in its raw topic to the committed assessment",
    LATENCY_BUCKETS_S,
)
MODEL_UNUSABLE = Gauge(
    "ebbwatch_scoring_model_unusable",
    "1 while the promoted model cannot be loaded and another one serves in its place",
)
SEGMENTS_UNUSABLE = Gauge(
    "ebbwatch_scoring_segments_unusable",
    "Segments in force whose rule cannot be run, and is not (`/readyz` names them)",
)
SHADOW_SCORES = Counter(
    "ebbwatch_scoring_shadow_scores", "Assessments that the challenger scored beside the champion"
)
SHADOW_SKIPPED = Counter(
    "ebbwatch_scoring_shadow_skipped", "Assessments left out of the comparison: the queue was full"
)
IDENTITIES = Counter(
    "ebbwatch_scoring_identity_statements_total",
    "Statements about ids that were decided on",
    ["outcome"],
)
TREATMENTS = Counter(
    "ebbwatch_scoring_treatments", "Facts about what alerts did, kept for training", ["kind"]
)
MODEL_ALARM = Gauge(
    "ebbwatch_scoring_model_alarm",
    "1 while the serving model's drift, level or ranking is out of bounds (docs/model-operations)",
    ["alarm"],
)
REALISED_AUC = Gauge(
    "ebbwatch_scoring_realised_roc_auc_ratio",
    "ROC-AUC of the newest roll call whose horizon is over",
    ["role", "segment"],
)
REALISED_GAP = Gauge(
    "ebbwatch_scoring_realised_level_gap_ratio",
    "Observed minus expected share that bought nothing, of the same roll call",
    ["role", "segment"],
)
REALISED_LIFT = Gauge(
    "ebbwatch_scoring_realised_lift_ratio", "Lift at 10 % of the same call", ["role", "segment"]
)
REALISED_QUALITY = Gauge(
    "ebbwatch_scoring_realised_quality_ratio",
    "Log loss, calibration error and recall at 10 % of the same call",
    ["role", "segment", "measure"],
)
PROMISED_QUALITY = Gauge(
    "ebbwatch_scoring_promised_quality_ratio",
    "The same measures in the backtest of the serving model's card",
    ["segment", "measure"],
)
DRIFT_PSI = Gauge(
    "ebbwatch_scoring_drift_psi_ratio",
    "Population stability index of each feature and of the score at the newest roll call",
    ["feature"],
)
QUARANTINED = Counter(
    "ebbwatch_scoring_quarantined_records_total",
    "Records set aside because process after process ended on them: alert on it",
    ["topic"],
)

SET_ASIDE = Gauge(
    "ebbwatch_scoring_set_aside",
    "Customers whose sweep is set aside after three faults in a row, by kind: alert on it",
    ["kind"],
)

begin(EVENTS, (*DATA_BY_TYPE, *sorted(CONTROL_TYPES)))
begin(ASSESSMENTS, BANDS)
begin(QUALITY_FLAGS, MEANINGS)
begin(IDENTITIES, ["linked", "unlinked", "contact", "refused"])
begin(TREATMENTS, get_args(TreatmentKind))
