"""Waits for an event, for the end of the service, or for a time: whichever comes first."""

import asyncio

from shared.runtime.service import Stop


async def heard(bell: asyncio.Event, stop: Stop, seconds: float) -> bool:
    """Return when `bell` or `stop` is set or `seconds` have passed; clear `bell`.

    True if `bell` was set.
    """
    waiting = {asyncio.create_task(bell.wait()), asyncio.create_task(stop.wait())}
    try:
        await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()
    rang = bell.is_set()
    bell.clear()
    return rang
