"""Writes Kafka's own committed offsets, for lag displays and for tools that pace a replay.

Nothing depends on them: a failure shows as lag that does not shrink.
"""

import asyncio
import contextlib
from collections.abc import Callable

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from shared.postgres.ledger import TopicPartition as Tp

COMMIT_S = 0.2
"""How often they follow the ledger's."""

COMMIT_TIMEOUT_S = 2.0
"""aiokafka retries a commit to a deleted topic for ever; a display is not worth that."""


class OffsetDisplay:
    """Commits `offsets` until closed, through `consumer`, which must be a member of its group."""

    def __init__(self, consumer: AIOKafkaConsumer, offsets: Callable[[], dict[Tp, int]]) -> None:
        self._consumer = consumer
        self._offsets = offsets
        self._shown: dict[Tp, int] = {}
        self._following = asyncio.create_task(self._follow(), name="offset-display")

    async def close(self) -> None:
        """Commit once more, and end."""
        self._following.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._following
        await self._show()

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(COMMIT_S)
            await self._show()

    async def _show(self) -> None:
        news = {tp: at for tp, at in self._offsets().items() if self._shown.get(tp) != at}
        if news:
            with contextlib.suppress(KafkaError, OSError, TimeoutError):
                async with asyncio.timeout(COMMIT_TIMEOUT_S):
                    await self._consumer.commit(
                        {TopicPartition(*tp): at for tp, at in news.items()}
                    )
                self._shown |= news
