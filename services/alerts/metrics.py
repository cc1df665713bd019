"""Every metric of alerts, declared once. No customer, owner or task in a label."""

from collections.abc import Collection
from typing import Final, get_args

from prometheus_client import Counter, Gauge, Histogram

from services.alerts.core.customer import CloseReason
from services.alerts.core.customer_message import Suppression
from services.alerts.core.raised_causes import Why
from services.alerts.core.signs import CHURNED, POLICY_RULE
from services.alerts.delivery.core.retry import Outcome
from shared.contracts.signs import URGENCY
from shared.contracts.treatment import Verdict
from shared.kafka.transaction import STAGES
from shared.observability.collectors import ScrapeGauge, begin
from shared.observability.service_metrics import SHARED_BY_ALL, ServiceMetrics

LATENCY_BUCKETS_S = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0)
"""Bucket edges at the latency targets, 0.3 s usually and 1 s at worst; larger ones for outages."""

SERVICE = ServiceMetrics("alerts", "the commit of what alerts does about it (of purchases)", STAGES)
MESSAGES = Counter(
    "ebbwatch_alerts_assessments_total",
    "Assessments read, by the row of the decision table that applied (`stale`: an old revision)",
    ["decision"],
)
ACTIVITY = Counter(
    "ebbwatch_alerts_activity_events_total", "Activity events acted on, by kind", ["kind"]
)
DEAD_LETTERS = Counter(
    "ebbwatch_alerts_dead_letters_total", "Records that could not be read", ["topic"]
)
CUSTOMER_MESSAGES = Counter(
    "ebbwatch_alerts_customer_messages_total",
    "Decisions about messages to customers: handed (to delivery), waits, or why suppressed",
    ["decision"],
)
MESSAGE_RESULTS = Counter(
    "ebbwatch_alerts_customer_message_results_total",
    "Results that providers reported, by endpoint and result",
    ["endpoint", "result"],
)
TASKS_RAISED = Counter(
    "ebbwatch_alerts_tasks_raised_total",
    "Warnings raised, by cause: new tasks, and causes that joined an open task",
    ["cause"],
)
TASKS_CLOSED = Counter(
    "ebbwatch_alerts_tasks_closed_total", "Tasks closed, by cause and reason", ["cause", "reason"]
)
VERDICTS = Counter("ebbwatch_alerts_verdicts_total", "Verdicts of owners", ["verdict"])
TASK_LATENCY_S = Histogram(
    "ebbwatch_alerts_task_latency_seconds",
    "From the arrival of the event in its raw topic to the committed task",
    buckets=LATENCY_BUCKETS_S,
)
DELIVERY_LATENCY_S = Histogram(
    "ebbwatch_alerts_delivery_latency_seconds",
    "From the arrival of the event in its raw topic to the delivery accepted by the receiver",
    buckets=LATENCY_BUCKETS_S,
)
DELIVERIES = Counter(
    "ebbwatch_alerts_delivery_attempts_total",
    "Attempts to deliver, by endpoint and outcome (delivered, retry, failed, gone)",
    ["endpoint", "outcome"],
)
ATTEMPT_S = Histogram(
    "ebbwatch_alerts_delivery_attempt_seconds",
    "Duration of one attempt, by endpoint",
    ["endpoint"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0),
)
ENDPOINTS_DISABLED = Counter(
    "ebbwatch_alerts_endpoints_disabled_total",
    "Endpoints that were switched off (410, nothing but failures for 120 h, an address that is not "
    "https): alert on it",
    ["endpoint"],
)
BREAKER_OPEN = Gauge(
    "ebbwatch_alerts_breaker_open",
    "1 while this process leaves an endpoint alone after many failures",
    ["endpoint"],
)
DELIVERIES_QUARANTINED = Counter(
    "ebbwatch_alerts_quarantined_deliveries_total",
    "Deliveries given up because process after process ended while it sent them: alert on it",
    ["endpoint"],
)
UNDELIVERED_OLDEST_S = ScrapeGauge(
    "ebbwatch_alerts_undelivered_oldest_seconds",
    "Age of the oldest delivery that has not succeeded and is not given up; 0 while there is none "
    f"({SHARED_BY_ALL})",
)
UNDELIVERED_OLDEST_S.read = lambda: [((), 0.0)]
UNDELIVERED = Gauge(
    "ebbwatch_alerts_undelivered", f"Deliveries not yet succeeded or given up ({SHARED_BY_ALL})"
)
LOG_PARTITIONS = Gauge(
    "ebbwatch_alerts_log_partitions", "Partitions of a table kept by time", ["table"]
)
LOG_REST = Gauge(
    "ebbwatch_alerts_log_rest",
    "1: rows of a table kept by time lie outside its partitions and wait for one",
    ["table"],
)
POLLS = Counter(
    "ebbwatch_alerts_crm_looks_total",
    "Polls of a CRM for changes, by endpoint and outcome (done, failed)",
    ["endpoint", "outcome"],
)
WAY_BACK = Counter(
    "ebbwatch_alerts_way_back_total",
    "What came back from a CRM, by endpoint and outcome (taken, conflict: another verdict was "
    "first, repeated, not_owner, unknown_task, ignored, set_aside: a fault of ours, see the log, "
    "refused: not from the CRM)",
    ["endpoint", "outcome"],
)
QUARANTINED = Counter(
    "ebbwatch_alerts_quarantined_records_total",
    "Records set aside because process after process ended on them: alert on it",
    ["topic"],
)
SET_ASIDE = Gauge(
    "ebbwatch_alerts_set_aside",
    "Tasks, owners, customers, schedules, steps and polls that are set aside after three faults in "
    "a row, by kind: alert on it",
    ["kind"],
)
OPEN_TASKS = ScrapeGauge(
    "ebbwatch_alerts_open_tasks",
    "Open tasks by the group that is to do them (owner, fast_response, self_service, unowned) and "
    f"their cause ({SHARED_BY_ALL})",
    ["group", "cause"],
)
WARNINGS_PER_100 = Gauge(
    "ebbwatch_alerts_warnings_per_100_customers",
    "Warnings inferred from numbers, raised or held out in the last 30 days, per 100 customers "
    f"with a rhythm of their own, measured every 6 hours ({SHARED_BY_ALL})",
)
BUDGET_PER_100 = Gauge(
    "ebbwatch_alerts_warnings_budget_per_100_customers",
    f"The budget of the policy in force for the same; +Inf: it has none ({SHARED_BY_ALL})",
)
REALISED_RECALL = ScrapeGauge(
    "ebbwatch_alerts_realised_recall_ratio",
    "Share of the lapses of the last 180 days with a warning before they were complete; no series "
    f"without a lapse ({SHARED_BY_ALL})",
)
REALISED_PRECISION = ScrapeGauge(
    "ebbwatch_alerts_realised_precision_ratio",
    "Share of the warnings of the last 180 days with a known outcome that a lapse followed; no "
    f"series before the first outcome ({SHARED_BY_ALL})",
)

CAUSES: Final = (*URGENCY, CHURNED, POLICY_RULE)
"""Causes that are shown from the start; those of schedules and segments join them."""

begin(MESSAGES, get_args(Why))
begin(ACTIVITY, ["purchase", "profile", "feedback", "subscription"])
begin(DEAD_LETTERS, ["risk", "activity", "changes"])
begin(CUSTOMER_MESSAGES, ["handed", "waits", *get_args(Suppression)])
begin(TASKS_RAISED, CAUSES)
begin(TASKS_CLOSED, CAUSES, get_args(CloseReason))
begin(VERDICTS, get_args(Verdict))

_OF_ENDPOINTS: Final = (
    MESSAGE_RESULTS,
    DELIVERIES,
    ATTEMPT_S,
    ENDPOINTS_DISABLED,
    BREAKER_OPEN,
    DELIVERIES_QUARANTINED,
    POLLS,
    WAY_BACK,
)


class EndpointSeries:
    """Creates the series of endpoints when they come, and removes them when they are deleted."""

    def __init__(self) -> None:
        self._known: set[str] = set()
        self._gone: set[str] = set()

    def __call__(self, endpoints: Collection[str]) -> None:
        """Bring the series in line with the endpoints that there are now, by id."""
        now = set(endpoints)
        for endpoint in now - self._known:
            begin(DELIVERIES, [endpoint], get_args(Outcome))
            begin(ENDPOINTS_DISABLED, [endpoint])
            begin(DELIVERIES_QUARANTINED, [endpoint])
            BREAKER_OPEN.labels(endpoint)
        # Every time: an attempt that was under way may have been counted after the deletion.
        self._gone = (self._gone | self._known) - now
        for endpoint in self._gone:
            for metric in _OF_ENDPOINTS:
                metric.remove_by_labels({"endpoint": endpoint})
        self._known = now
