"""Faults of workers: they crash, freeze, come and go."""

import asyncio
import random
import signal
import time

from tests.chaos.environment import ChaosEnvironment, Worker
from tests.chaos.report import Found

SESSION_S = 12.0
"""Longer than the group waits for a member that is silent (10 s)."""

TAKE_OVER_S_MAX = 10.0
"""The promise of the fault matrix: seconds until a partition moves on when its former owner holds
its row."""

CRASH_POINTS = ("in_copy", "before_fence", "before_commit", "after_commit", "after_send")


async def kill_at_random(arena: ChaosEnvironment) -> None:
    """Send the story, and kill -9 at random moments; leaves a worker that has recovered.

    Each start joins a group of another name, since a group waits ten seconds for a dead member; the
    ledger decides the owner of a partition anyway.
    """
    source = random.Random(arena.times)  # noqa: S311 (repeatable on purpose)
    await arena.place.send(arena.story.log)
    for number in range(arena.times):
        worker = await arena.start(GROUP=f"g{arena.place.mark}-{number}")
        await arena.reached((number + source.random()) / (arena.times + 1))
        await asyncio.sleep(source.uniform(0, 0.03))
        await arena.count()
        await worker.kill()
    since = time.monotonic()
    await arena.start(GROUP=f"g{arena.place.mark}-end")
    await arena.recovered(since)


async def killed(arena: ChaosEnvironment) -> Found:
    """kill -9 at random moments."""
    await kill_at_random(arena)
    await arena.finished()
    return await arena.judged()


async def killed_at_points(arena: ChaosEnvironment) -> Found:
    """The worker kills itself (-9) at each named point of a batch, some batches after it began."""
    await arena.place.send(arena.story.log)
    for round_ in range(max(1, arena.times // 5)):
        for number, point in enumerate(CRASH_POINTS):
            worker = await arena.start(
                arguments=("--point", point, "--after", str(3 + 2 * number), "--signal", "SIGKILL"),
                GROUP=f"g{arena.place.mark}-{round_}-{point}",
            )
            async with asyncio.timeout(60):
                status = await worker.process.wait()
            assert status == -signal.SIGKILL, f"ended otherwise: {worker.log}"
            arena.injected += 1
    since = time.monotonic()
    await arena.start(GROUP=f"g{arena.place.mark}-end")
    await arena.recovered(since)
    await arena.finished()
    return await arena.judged()


async def zombie(arena: ChaosEnvironment) -> Found:
    """SIGSTOP beyond the session: the other member takes over.

    What the frozen one still tries to write when it wakes is refused.
    """
    one = await arena.start()
    two = await arena.start()
    for worker in (one, two):
        await worker.until(200)
    await arena.place.send(arena.story.log)
    await arena.reached(0.2)
    one.freeze()
    frozen = time.monotonic()
    await arena.count()
    await asyncio.sleep(SESSION_S)
    await arena.reached(1)
    arena.recoveries.append(time.monotonic() - frozen)
    one.thaw()
    await asyncio.sleep(2)
    await arena.finished()
    return await arena.judged()


async def _frozen_at(arena: ChaosEnvironment, point: str) -> Worker:
    worker = await arena.start(
        arguments=("--point", point, "--after", "6", "--signal", "SIGSTOP"),
        GROUP=f"g{arena.place.mark}-{point}",
    )
    await worker.frozen()
    await arena.count()
    return worker


async def zombie_with_a_lock(arena: ChaosEnvironment) -> Found:
    """Frozen in COPY, and frozen with the ledger's rows locked: the next owner goes on.

    It does so within ten seconds of its claim, and the zombie that wakes writes nothing.

    Its other lane may have been sending: that arrives now, behind the next owner's messages, and
    the zombie sends what is newer. So it is asked to end; killing it before that would be a second
    fault, which decision 1 names.

    Each point has its own half of the log: with all of it at once, the first take-over can leave
    too few batches for the second point to be reached.
    """
    late = []
    points = ("in_copy", "after_fence")
    for number, point in enumerate(points):
        await arena.send_part(number, len(points))
        stuck = await _frozen_at(arena, point)
        next_ = await arena.start(GROUP=f"g{arena.place.mark}-after-{point}")
        await next_.until(200, "/startupz")
        await arena.recovered()
        if arena.recoveries[-1] > TAKE_OVER_S_MAX:
            late.append(f"take-over took {arena.recoveries[-1]:.1f} s ({point})")
        stuck.thaw()
        if point == "in_copy":
            await asyncio.sleep(0.5)
            await next_.kill()
            assert await stuck.stop() == 0, f"did not end well: {stuck.log}"
    await arena.finished()
    found = await arena.judged()
    found.wrong += late
    return found


async def storm(arena: ChaosEnvironment) -> Found:
    """Members come and go while one stays: stopped in order and killed in turn."""
    steady = await arena.start()
    await steady.until(200)
    sending = asyncio.create_task(_slowly(arena))
    for number in range(arena.times):
        guest = await arena.start()
        await asyncio.sleep(3 if arena.long else 1.5)
        await arena.count()
        await guest.stop(signal.SIGTERM if number % 2 == 0 else signal.SIGKILL)
    await sending
    await arena.recovered()
    await arena.finished()
    return await arena.judged()


async def _slowly(arena: ChaosEnvironment) -> None:
    """Sends the log in pieces, so that there is work for as long as the storm lasts."""
    rounds = 8 * arena.times
    for number in range(rounds):
        await arena.send_part(number, rounds)
        await asyncio.sleep(0.15)
