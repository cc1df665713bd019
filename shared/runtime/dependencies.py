"""The readiness checks of the dependencies that every service has."""

from shared.kafka.probe import KafkaProbe
from shared.kafka.settings import KafkaSettings
from shared.postgres.probe import PostgresProbe
from shared.postgres.settings import PostgresSettings
from shared.runtime.health import Health


class Dependencies:
    """Registers the checks `postgres` and `kafka`; call `close` at the end."""

    def __init__(
        self, health: Health, service: str, postgres: PostgresSettings, kafka: KafkaSettings
    ) -> None:
        self._postgres = PostgresProbe(postgres, service)
        self._kafka = KafkaProbe(kafka, service)
        health.add_check("postgres", self._postgres)
        health.add_check("kafka", self._kafka)

    async def close(self) -> None:
        """Close the connections."""
        self._postgres.close()
        await self._kafka.close()
