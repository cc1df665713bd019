"""Repeats a piece of work until the service ends."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from shared.kernel.errors import Transient
from shared.runtime.backoff import Backoff
from shared.runtime.health import Health
from shared.runtime.service import Stop

log = structlog.get_logger(__name__)


async def repeat(
    once: Callable[[], Awaitable[object]],
    stop: Stop,
    name: str,
    every_s: float,
    *,
    health: Health | None = None,
    signal: asyncio.Event | None = None,
    at_once: bool = False,
    retry_s: float | None = None,
) -> None:
    """Runs `once` every `every_s` seconds until `stop`; after a Transient as `Backoff` waits.

    `signal` starts it before its time, except after a Transient; `once` clears it. `at_once`: the
    first run does not wait. `health` notes each run. `retry_s`: fixed wait after a Transient, in
    seconds.
    """
    backoff, wait_s, wake = Backoff(), 0.0 if at_once else every_s, signal
    while not await _stopped(stop, wait_s, wake):
        if health is not None:
            health.beat(name)
        try:
            await once()
        except Transient as trouble:
            wait_s, wake = backoff.next() if retry_s is None else retry_s, None
            log.warning("waiting", loop=name, trouble=str(trouble), wait_s=wait_s)
        else:
            backoff.reset()
            wait_s, wake = every_s, signal
    if health is not None:
        health.ended(name)


async def _stopped(stop: Stop, seconds: float, signal: asyncio.Event | None) -> bool:
    """Waits for `stop`, for `signal` or for the time; returns whether it was `stop`."""
    if signal is None:
        return await stop.wait(seconds)
    waiting = {asyncio.create_task(signal.wait()), asyncio.create_task(stop.wait())}
    try:
        await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()
    return bool(stop)
