"""Publishes messages that owners caused to the treatment topic.

They belong to no partition that alerts claims, so every replica may send them. A message that two
replicas send is recognised by its task and kind.
"""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from services.alerts.handlers.give_verdict import CAUSE
from services.alerts.handlers.wait_for_signal import signalled
from shared.kernel.errors import Transient
from shared.postgres.ledger import Claim
from shared.runtime.backoff import Backoff
from shared.runtime.health import Health
from shared.runtime.service import Stop

INTERVAL_S = 5.0
"""Seconds between polls for messages that another replica left when it ended."""

NAME = "verdicts"

log = structlog.get_logger(__name__)


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
        claim = Claim(CAUSE[0], CAUSE[1], epoch=0, next_offset=None, fingerprint=None)
        backoff = Backoff()
        while not stop:
            self._health.beat(NAME)
            try:
                await self._recover(claim)
                backoff.reset()
                await signalled(self._treatments_queued, stop, INTERVAL_S)
            except Transient as trouble:
                log.warning("waiting", loop=NAME, trouble=str(trouble))
                await stop.wait(backoff.next())
        self._health.ended(NAME)
