"""Watches what a service reads, and its servers: a loop that depends on nothing that consumes.

It compares the ends of the topics with the stored positions and feeds the gauges that are read at
each scrape, and the readiness check `commits`.
"""

import asyncio
import contextlib
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final, cast

import structlog
from aiokafka.errors import KafkaError
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import QueuePool

from shared.kafka.lag import Instant, Lag, Position, by_topic
from shared.kafka.log_ends import GroupPositions, LogEnds
from shared.kafka.settings import KafkaSettings
from shared.observability.collectors import ScrapeGauge
from shared.observability.service_metrics import ServiceMetrics
from shared.postgres.engine import TROUBLE as POSTGRES_TROUBLE
from shared.postgres.ledger import TopicPartition as Tp
from shared.postgres.settings import PostgresSettings
from shared.postgres.watch import DatabaseWatch
from shared.runtime.clock import Clock
from shared.runtime.health import Health
from shared.runtime.loop import repeat
from shared.runtime.service import Stop

WATCH_S: Final = 1.0
"""Seconds between two readings: with `COMMIT_S_MAX` a stall is reported within 10 s."""

COMMIT_S_MAX: Final = 8.0
"""Seconds for which records of an owned partition may wait without any commit: the longest time of
a healthy batch."""

READ_S_MAX: Final = 5.0
"""Longest time of one reading, in seconds, before its connections count as lost."""

CLOSE_S: Final = 1.0
"""How long closing the connections may take, in seconds."""

TROUBLE: Final = (KafkaError, *POSTGRES_TROUBLE)
"""What is raised where a server is in trouble; everything else is a bug."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reads:
    """What a service reads from Kafka."""

    schema: str
    """Of the ledger's tables."""
    topics: Callable[[], Collection[str]]
    owned: Callable[[], Collection[Tp]]
    """The partitions that this process has to read now."""
    sent: Callable[[], Collection[int]] = tuple
    """Ids of the outbox's rows that this process has sent, and not yet deleted."""
    group: str | None = None
    """The consumer group whose positions Kafka keeps, of topics that are not in the ledger."""


class Watch:
    """The loop `__call__`, the gauges and the check; call `close` at the end."""

    def __init__(
        self,
        metrics: ServiceMetrics,
        kafka: KafkaSettings,
        postgres: PostgresSettings,
        engine: AsyncEngine,
        clock: Clock,
        reads: Reads,
    ) -> None:
        self._metrics, self._clock, self._reads = metrics, clock, reads
        self._log_ends = LogEnds(kafka, f"{reads.schema}-watch")
        self._group = None if reads.group is None else GroupPositions(kafka, reads.group)
        self._database = DatabaseWatch(
            postgres,
            reads.schema,
            outbox=metrics.outbox_messages is not None,
            monotonic=clock.monotonic,
            unix=lambda: clock.now().timestamp(),
        )
        self._engine = engine
        self._lag = Lag()
        self._trouble: type[Exception] | None = None
        self._bind()

    async def __call__(self, stop: Stop) -> None:
        """Read until `stop`."""
        await repeat(self._read, stop, "watch", WATCH_S, at_once=True)

    def watched_by(self, health: Health) -> None:
        """Add the check `commits`, and show the results of all checks."""
        health.add_check("commits", self._stalled)

        self._metrics.ready.read = lambda: [
            ((check,), float(passes)) for check, passes in health.passing().items()
        ]

    async def close(self) -> None:
        """Close the connections."""
        self._database.close()
        closing = [self._log_ends.close(), *([self._group.close()] if self._group else [])]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                await asyncio.gather(*closing, return_exceptions=True)

    async def _read(self) -> None:
        try:
            async with asyncio.timeout(READ_S_MAX):
                await self._database.read(
                    self._reads.topics(), self._reads.owned(), self._reads.sent()
                )
                positions = {
                    tp: Position(offset, mark)
                    for tp, (offset, mark) in self._database.figures.offsets.items()
                }
                if self._group is not None:
                    positions |= await self._group()
                bounds = await self._log_ends.bounds(self._reads.topics())
                wanted = self._lag.note(self._now(), positions, bounds)
                if wanted:
                    heads = await self._log_ends.heads(wanted, bounds)
                    self._lag.heads(self._now(), heads)
        except Exception as trouble:
            # A bug in the watch must not end the service that it watches: the figures grow old, and
            # EbbwatchLagUnknown fires.
            await self.close()
            if type(trouble) is not self._trouble:  # once: it is tried again each second
                log.warning(
                    "lag is not read",
                    trouble=f"{type(trouble).__name__}: {trouble}",
                    exc_info=not isinstance(trouble, TROUBLE),
                )
            self._trouble = type(trouble)
        else:
            if self._trouble is not None:
                log.info("lag is read again")
            self._trouble = None

    async def _stalled(self) -> str | None:
        ages = self._lag.uncommitted(self._clock.monotonic())
        ours = {tp: ages[tp] for tp in self._reads.owned() if ages.get(tp, 0.0) > COMMIT_S_MAX}
        if not ours:
            return None
        (topic, partition), age = max(ours.items(), key=lambda item: item[1])
        return f"records of {topic}/{partition} wait and none was committed for {age:.0f} s"

    def _now(self) -> Instant:
        return Instant(self._clock.now().timestamp(), self._clock.monotonic())

    def _bind(self) -> None:
        """Set what the gauges show."""
        metrics, lag, figures = self._metrics, self._lag, self._database.figures

        def by_partition(values: dict[Tp, float]) -> list[tuple[tuple[str, ...], float]]:
            return [((tp[0], str(tp[1])), value) for tp, value in values.items()]

        metrics.lag_records.read = lambda: by_partition(
            {tp: float(records) for tp, records in lag.records().items()}
        )
        metrics.lag_seconds.read = lambda: by_partition(lag.seconds(self._now().unix_s))
        metrics.freshness.read = lambda: _one(
            max(lag.seconds(self._now().unix_s).values(), default=0.0)
        )
        metrics.last_commit_age.read = lambda: [
            ((topic,), age)
            for topic, age in by_topic(
                lag.uncommitted(self._clock.monotonic()), self._reads.topics()
            ).items()
        ]
        metrics.ends_age.read = lambda: _one(lag.age(self._clock.monotonic()))
        metrics.database_bytes.read = lambda: _one(figures.size_bytes)
        metrics.clock_skew.read = lambda: (
            [] if figures.skew_s is None else [(("postgres",), figures.skew_s)]
        )
        _set(metrics.outbox_messages, lambda: float(figures.outbox_messages))
        _set(
            metrics.outbox_oldest,
            lambda: (
                0.0
                if figures.outbox_since_s is None
                else self._clock.monotonic() - figures.outbox_since_s
            ),
        )
        pool = cast("QueuePool", self._engine.pool)  # `create_engine` makes no other
        metrics.pool_connections.read = lambda: [
            (("used",), float(pool.checkedout())),
            (("idle",), float(pool.checkedin())),
        ]
        metrics.pool_limit.read = lambda: _one(pool.size())


def _one(value: float | None) -> list[tuple[tuple[str, ...], float]]:
    """Returns the series of a gauge without labels; none while the value is unknown."""
    return [] if value is None else [((), float(value))]


def _set(gauge: ScrapeGauge | None, value: Callable[[], float]) -> None:
    if gauge is not None:
        gauge.read = lambda: _one(value())
