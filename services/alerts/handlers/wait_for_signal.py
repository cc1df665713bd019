"""Waits for an event, for the end of the service, or for a time: whichever comes first."""

import asyncio

from shared.runtime.service import Stop


async def signalled(signal: asyncio.Event, stop: Stop, seconds: float) -> bool:
    """Return when `signal` or `stop` is set or `seconds` have passed; clear `signal`.

    True if `signal` was set.
    """
    waiting = {asyncio.create_task(signal.wait()), asyncio.create_task(stop.wait())}
    try:
        await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()
    was_set = signal.is_set()
    signal.clear()
    return was_set
