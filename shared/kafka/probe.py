"""Checks whether Kafka answers, for the readiness probe, on its own connection.

A consumer's connection would wait behind a fetch, and counts as alive for as long as its own
time-outs last.
"""

import asyncio
import contextlib
from typing import Final

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError

from shared.kafka.settings import KafkaSettings

PROBE_S_MAX: Final = 10.0
"""Seconds until a request counts as lost with its connection."""

CLOSE_S: Final = 1.0
"""How long closing may take."""


class KafkaProbe:
    """A readiness check; call `close` at the end."""

    def __init__(self, settings: KafkaSettings, client: str) -> None:
        self._settings = settings
        self._client_id = f"{client}-probe"
        self._client: AIOKafkaClient | None = None

    async def __call__(self) -> str | None:
        """Return None when a broker answers, else the fault."""
        try:
            async with asyncio.timeout(PROBE_S_MAX):
                if self._client is None:
                    self._client = AIOKafkaClient(**self._settings.client_kwargs(self._client_id))
                    await self._client.bootstrap()
                await self._client.fetch_all_metadata()
        except (KafkaError, OSError, TimeoutError) as error:
            await self.close()
            return f"Kafka does not answer: {type(error).__name__}"
        return None

    async def close(self) -> None:
        """Close the connections."""
        client, self._client = self._client, None
        if client is not None:
            with contextlib.suppress(KafkaError, OSError, TimeoutError):
                async with asyncio.timeout(CLOSE_S):
                    await client.close()
