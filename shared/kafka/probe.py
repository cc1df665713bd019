"""Asks Kafka whether it answers, for the readiness probe, on a connection of its own.

Not on a consumer's, which waits for its turn behind a fetch, and counts as alive for as long as
its own time-outs last.
"""

import asyncio
import contextlib
from typing import Final

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError

from shared.kafka.settings import KafkaSettings

ASKED_S_MAX: Final = 10.0
"""Until a question counts as lost with its connection."""

CLOSE_S: Final = 1.0
"""How long letting go may take."""


class KafkaProbe:
    """A readiness check; `close` it at the end."""

    def __init__(self, settings: KafkaSettings, client: str) -> None:
        self._settings = settings
        self._client_id = f"{client}-probe"
        self._client: AIOKafkaClient | None = None

    async def __call__(self) -> str | None:
        """None when a broker answers, else what is wrong."""
        try:
            async with asyncio.timeout(ASKED_S_MAX):
                if self._client is None:
                    self._client = AIOKafkaClient(**self._settings.client_kwargs(self._client_id))
                    await self._client.bootstrap()
                await self._client.fetch_all_metadata()
        except (KafkaError, OSError, TimeoutError) as error:
            await self.close()
            return f"Kafka does not answer: {type(error).__name__}"
        return None

    async def close(self) -> None:
        """Let the connections go."""
        client, self._client = self._client, None
        if client is not None:
            with contextlib.suppress(KafkaError, OSError, TimeoutError):
                async with asyncio.timeout(CLOSE_S):
                    await client.close()
