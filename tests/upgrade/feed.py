"""Events of the upgrade test: a supermarket's days, with bad records and repeated ones beside."""

import asyncio
import json
from collections.abc import Iterator
from itertools import cycle, islice
from typing import Final

from deploy.demo.dataset import BACKFILL_END, PanelHistory
from deploy.demo.replayer import STRUCTURED, Day, days
from shared.contracts.topics import RAW
from shared.kafka.producer import Producer, Record
from tests.e2e.services_on_history import World

PAUSE_S: Final = 0.2
"""Between two days, so that a step of the upgrade falls within several."""
REPEATED: Final = 4
"""Events of the loaded history that are sent again each day: they must have no second effect."""


def bad(day: int) -> tuple[bytes, bytes]:
    """Return the records of a day that become dead letters, recognisable by their content."""
    unknown = {"specversion": "1.0", "id": f"x-{day}", "source": "shop", "type": "x"}
    return b"{no event %d" % day, json.dumps(unknown).encode()


class Feed:
    """Sends the days that follow the loaded history, each once, as many as are asked for.

    The days go into one partition of the raw topic, in order; what is beside them goes into the
    others, so that several processes of ingest have work.
    """

    def __init__(self, world: World, producer: Producer, history: PanelHistory, count: int) -> None:
        self._world = world
        self._producer = producer
        live = history.since(BACKFILL_END).stream()
        self._days: Iterator[tuple[int, Day]] = enumerate(days(live, BACKFILL_END, count))
        old = [event.body for event in islice(history.until(BACKFILL_END).stream(), 1_000)]
        self._old = cycle(old)
        self._partitions = cycle(range(1, RAW.partitions))

    async def send(self, count: int) -> None:
        """Send the next `count` days; raises ValueError when there are no more."""
        for _ in range(count):
            numbered = next(self._days, None)
            if numbered is None:
                raise ValueError("the story has no more days")
            number, day = numbered
            await self._world.replayer.replay([day], _at_once, lambda _: None)
            await self._beside(*bad(number), *islice(self._old, REPEATED))
            await asyncio.sleep(PAUSE_S)

    async def _beside(self, *bodies: bytes) -> None:
        await self._producer.send(
            Record(RAW.name, None, body, (STRUCTURED,), next(self._partitions)) for body in bodies
        )


async def _at_once(_: int) -> None:
    """Waits for nothing: what is not read yet waits in Kafka."""
