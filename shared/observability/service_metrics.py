"""The metrics that every service has, under names that begin with `ebbwatch_<service>_`.

A number about the database or the broker is the same from each process of a service; its help text
states it.
"""

from collections.abc import Callable, Sequence
from typing import Final

from prometheus_client import Counter, Gauge, Histogram

from shared.observability.collectors import BatchHistogram, ScrapeGauge
from shared.runtime.clock import SystemClock
from shared.runtime.version import VERSION, revision

SHARED_BY_ALL: Final = "database-wide: take max, not sum"
"""Ends the help text of a number that every process of a service reports alike."""

LATENCY_BUCKETS_S: Final = (
    *(0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0),
    *(3_600.0, 86_400.0),
)
"""Edges at the promises, 0.3 s usually and 1 s at worst; larger ones for outages, and an hour and a
day for sources that send late."""

STAGE_BUCKETS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.3, 1.0, 5.0, 10.0)
"""Edges of the parts of a batch: their sum is to stay within 0.3 s, and a batch within 8 s."""

HTTP_BUCKETS_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0)
"""Edges of requests; 15 s is the longest that a body may take."""


class ServiceMetrics:
    """Declares them. `handled` states what an event has reached when it is done in this service."""

    def __init__(
        self, service: str, handled: str, stages: Sequence[str], *, outbox: bool = True
    ) -> None:
        """`stages` are the parts of a batch, in order; `outbox`: whether the service has one."""
        prefix = f"ebbwatch_{service}"
        self._add_lag(prefix)
        self._add_batches(prefix, handled, stages)
        self._add_servers(prefix)
        self.outbox_messages: ScrapeGauge | None = None
        self.outbox_oldest: ScrapeGauge | None = None
        if outbox:
            self._add_outbox(prefix)
        self._add_http(prefix)
        self.build_info = Gauge(
            f"{prefix}_build_info",
            "1, with the release and the revision of the code that runs",
            ["version", "revision"],
        )
        self.build_info.labels(VERSION, revision()).set(1)
        self.ready = ScrapeGauge(
            f"{prefix}_ready",
            "1 while a check of /readyz passes, 0 while it fails or has not been made",
            ("check",),
        )

    def timed(self) -> Callable[[str], None]:
        """Return what is called with each stage of a batch once it is done, in order.

        They are counted with the last one, so that a batch that changed nothing, or failed, is not.
        """
        clock, took = SystemClock(), dict[str, float]()
        at_s = clock.monotonic()

        def done(stage: str) -> None:
            nonlocal at_s
            now_s = clock.monotonic()
            took[stage], at_s = now_s - at_s, now_s
            if stage == self._last_stage:
                for each, seconds in took.items():
                    self._stages[each].observe(seconds)

        return done

    def _add_lag(self, prefix: str) -> None:
        partition = ("topic", "partition")
        self.lag_records = ScrapeGauge(
            f"{prefix}_lag_records",
            "Records of the topics that are not yet handled, by the broker's ends and the stored "
            f"positions ({SHARED_BY_ALL})",
            partition,
        )
        self.lag_seconds = ScrapeGauge(
            f"{prefix}_lag_seconds",
            "Age of the oldest record that is not yet handled, since it was written to its topic; "
            f"0 while none waits ({SHARED_BY_ALL})",
            partition,
        )
        self.freshness = ScrapeGauge(
            f"{prefix}_freshness_seconds",
            "Age of the oldest record that is not yet handled, over all topics; 0 while none waits "
            f"({SHARED_BY_ALL})",
        )
        self.last_commit_age = ScrapeGauge(
            f"{prefix}_last_commit_age_seconds",
            "How long records of a partition have been waiting without any commit of it, the "
            f"longest of the topic's partitions; 0 while none waits ({SHARED_BY_ALL})",
            ("topic",),
        )
        self.ends_age = ScrapeGauge(
            f"{prefix}_ends_age_seconds",
            "Since this process last read the broker's ends and the stored positions: the lag is "
            "as old",
        )

    def _add_batches(self, prefix: str, handled: str, stages: Sequence[str]) -> None:
        self.event_latency = BatchHistogram(
            f"{prefix}_event_latency_seconds",
            f"From the time of a live event, as its source states it, to {handled}",
            LATENCY_BUCKETS_S,
        )
        self.batch_stage = Histogram(
            f"{prefix}_batch_stage_seconds",
            f"Duration of the parts of a batch: {', '.join(stages)}",
            ["stage"],
            buckets=STAGE_BUCKETS_S,
        )
        self._stages = {stage: self.batch_stage.labels(stage) for stage in stages}
        self._last_stage = stages[-1]
        self.rebalances = Counter(
            f"{prefix}_rebalances", "Times that Kafka assigned partitions to a consumer anew"
        )
        self.fence_losses = Counter(
            f"{prefix}_fence_losses",
            "Partitions whose commit was refused because another process had taken them over",
        )
        self.take_overs = Counter(
            f"{prefix}_take_overs", "Partitions that this process claimed in the ledger"
        )

    def _add_servers(self, prefix: str) -> None:
        self.pool_connections = ScrapeGauge(
            f"{prefix}_pool_connections",
            "Connections to PostgreSQL in this process's pool that are used, and that are idle",
            ("state",),
        )
        self.pool_limit = ScrapeGauge(
            f"{prefix}_pool_limit", "Most connections that this process's pool may open"
        )
        self.database_bytes = ScrapeGauge(
            f"{prefix}_database_bytes",
            f"Size of the whole PostgreSQL database, of all services in it ({SHARED_BY_ALL})",
        )
        self.clock_skew = ScrapeGauge(
            f"{prefix}_clock_skew_seconds",
            "Clock of the server minus the clock of this process",
            ("against",),
        )

    def _add_outbox(self, prefix: str) -> None:
        self.outbox_messages = ScrapeGauge(
            f"{prefix}_outbox_messages",
            "Stored messages of this process's partitions that are not yet sent",
        )
        self.outbox_oldest = ScrapeGauge(
            f"{prefix}_outbox_oldest_seconds",
            "Since this process first saw the oldest of these messages; 0 while there is none",
        )

    def _add_http(self, prefix: str) -> None:
        self.http_requests = Counter(
            f"{prefix}_http_requests",
            "Requests answered, by the route's template (`unmatched`: no route), method and status",
            ["route", "method", "status"],
        )
        self.http_seconds = Histogram(
            f"{prefix}_http_request_seconds",
            "From the head of a request to the end of its answer, by the route's template",
            ["route", "method"],
            buckets=HTTP_BUCKETS_S,
        )
