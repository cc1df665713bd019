"""The servers that every service depends on: their readiness checks, and the watch on its lag."""

from sqlalchemy.ext.asyncio import AsyncEngine

from shared.kafka.probe import KafkaProbe
from shared.kafka.settings import KafkaSettings
from shared.observability.service_metrics import ServiceMetrics
from shared.postgres.probe import PostgresProbe
from shared.postgres.settings import PostgresSettings
from shared.runtime.clock import SystemClock
from shared.runtime.health import Health
from shared.runtime.watching import Reads, Watch


class Dependencies:
    """Registers the checks `postgres`, `kafka` and `commits`; call `close` at the end.

    `watch` is the loop that the gauges of lag and the check `commits` depend on.
    """

    def __init__(
        self,
        health: Health,
        postgres: PostgresSettings,
        kafka: KafkaSettings,
        engine: AsyncEngine,
        metrics: ServiceMetrics,
        reads: Reads,
    ) -> None:
        self._postgres = PostgresProbe(postgres, reads.schema)
        self._kafka = KafkaProbe(kafka, reads.schema)
        health.add_check("postgres", self._postgres)
        health.add_check("kafka", self._kafka)
        self.watch = Watch(metrics, kafka, postgres, engine, SystemClock(), reads)
        self.watch.watched_by(health)

    async def close(self) -> None:
        """Close the connections."""
        self._postgres.close()
        await self._kafka.close()
        await self.watch.close()
