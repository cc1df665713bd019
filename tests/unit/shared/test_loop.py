"""A loop repeats its work, waits after trouble, wakes early, and ends."""

import asyncio

import pytest

from shared.kernel.errors import Transient
from shared.runtime.loop import repeat
from shared.runtime.service import Stop

NEVER_S = 3_600.0
"""Longer than any test."""


class Work:
    """Counts its runs, fails in some, and stops the loop after the last."""

    def __init__(self, stop: Stop, runs: int, failing: tuple[int, ...] = ()) -> None:
        self.stop, self.runs, self.failing = stop, runs, failing
        self.done = 0

    async def __call__(self) -> None:
        """Run once."""
        self.done += 1
        if self.done == self.runs:
            self.stop.set()
        if self.done in self.failing:
            raise Transient("PostgreSQL")


def test_it_runs_until_stopped() -> None:
    """Every run after the interval; none after `stop`."""
    stop = Stop()
    work = Work(stop, 3)
    asyncio.run(repeat(work, stop, "work", 0.0))
    assert work.done == 3


def test_a_set_stop_runs_nothing() -> None:
    """Also where the first run would not wait."""
    stop = Stop()
    stop.set()
    work = Work(stop, 1)
    asyncio.run(repeat(work, stop, "work", NEVER_S, at_once=True))
    assert work.done == 0


def test_it_goes_on_after_a_transient() -> None:
    """The wait is that of the backoff, or the fixed one, and not the interval."""
    stop = Stop()
    work = Work(stop, 2, failing=(1,))
    asyncio.run(repeat(work, stop, "work", NEVER_S, at_once=True))
    assert work.done == 2
    stop = Stop()
    fixed = Work(stop, 2, failing=(1,))
    asyncio.run(repeat(fixed, stop, "work", NEVER_S, at_once=True, retry_s=0.0))
    assert fixed.done == 2


def test_a_bug_ends_it() -> None:
    """The service ends with it, so that it is noticed."""

    async def bug() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        asyncio.run(repeat(bug, Stop(), "work", 0.0))


def test_a_signal_wakes_it() -> None:
    """A signal that is set starts the next run at once, but not after a Transient."""
    assert asyncio.run(_woken(failing=())) == 2
    assert asyncio.run(_woken(failing=(1,), retry_s=NEVER_S)) == 1


async def _woken(failing: tuple[int, ...], retry_s: float | None = None) -> int:
    stop, signal = Stop(), asyncio.Event()
    work = Work(stop, 2, failing)
    signal.set()
    looping = repeat(work, stop, "work", NEVER_S, signal=signal, retry_s=retry_s)
    running = asyncio.ensure_future(looping)
    await asyncio.wait({running}, timeout=0.2)
    stop.set()
    await running
    return work.done
