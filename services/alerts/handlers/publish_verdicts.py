"""Publishes messages that no consumed record caused to the treatment topic.

Owners, timers and wishes cause them. They belong to no partition that alerts claims, so every
replica may send them. A message that two replicas send is recognised by its task and kind.
"""

import asyncio
from collections.abc import Awaitable, Callable

from services.alerts.store.of_every_service import OUTSIDE_TOPICS
from shared.postgres.ledger import Claim
from shared.runtime.health import Health
from shared.runtime.loop import repeat
from shared.runtime.service import Stop

INTERVAL_S = 5.0
"""Seconds between polls for messages that another replica left when it ended."""

NAME = "verdicts"


class PublishVerdicts:
    """The loop that publishes them.

    `recover` sends the messages of a claim in the outbox and deletes them there;
    `treatments_queued` is set when there are more.
    """

    def __init__(
        self,
        recover: Callable[[Claim], Awaitable[None]],
        treatments_queued: asyncio.Event,
        health: Health,
    ) -> None:
        self._recover = recover
        self._treatments_queued = treatments_queued
        self._health = health

    async def __call__(self, stop: Stop) -> None:
        """Run until `stop`."""
        queued = self._treatments_queued
        await repeat(
            self._publish, stop, NAME, INTERVAL_S, health=self._health, signal=queued, at_once=True
        )

    async def _publish(self) -> None:
        self._treatments_queued.clear()
        await self._recover(Claim(*OUTSIDE_TOPICS, epoch=0, next_offset=None, fingerprint=None))
