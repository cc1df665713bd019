"""The life of a service process: it drains on a signal, and a broken loop is reported."""

import asyncio
import gc
import os
import signal
import socket
from itertools import pairwise

import httpx
import pytest

from deploy.local.waiting import LOOPBACK, free_port
from shared.http.app import create_app
from shared.kernel.errors import Invalid, Transient
from shared.observability.logging import configure_logging
from shared.runtime import service
from shared.runtime.backoff import FIRST_S, LONGEST_S, Backoff
from shared.runtime.clock import SystemClock
from shared.runtime.gc_tuning import YOUNG_OBJECTS
from shared.runtime.health import Health
from shared.runtime.service import Stop, run
from shared.runtime.settings import HttpSettings
from tests.fakes.clock import SetClock

LIMIT_S = 20.0


async def serve(
    loops: dict[str, service.Loop], port: int = 0, prepare: service.Prepare | None = None
) -> int:
    """Run these loops as a service; return its exit status."""
    health = Health(SetClock())
    async with asyncio.timeout(LIMIT_S):
        app = create_app("test", health)
        return await run(loops, app, HttpSettings(port=port), health, prepare)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_drains(number: signal.Signals) -> None:
    """Every loop gets the signal and may finish its work; the status is 0."""
    finished: list[str] = []

    async def work(stop: Stop) -> None:
        await stop.wait()
        await asyncio.sleep(0.2)  # the batch that was under way
        finished.append("work")

    async def wait(stop: Stop) -> None:
        os.kill(os.getpid(), number)
        assert await stop.wait()
        finished.append("wait")

    assert await serve({"work": work, "wait": wait}) == 0
    assert finished == ["wait", "work"]


async def test_a_loop_that_raises_ends_the_service() -> None:
    """This is a bug: the others drain, and the status reports an error."""
    drained = asyncio.Event()

    async def broken(_: Stop) -> None:
        raise RuntimeError("a bug")

    async def good(stop: Stop) -> None:
        await stop.wait()
        drained.set()

    assert await serve({"broken": broken, "good": good}) == 1
    assert drained.is_set()


async def test_a_loop_that_ends_ends_the_service() -> None:
    """No other loop does its work, so the service ends in order."""

    async def short(_: Stop) -> None:
        return

    async def good(stop: Stop) -> None:
        await stop.wait()

    assert await serve({"short": short, "good": good}) == 0


async def test_a_loop_that_does_not_drain_is_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its time is over; the exit status shows that it was cut off."""
    monkeypatch.setattr(service, "DRAIN_SECONDS_MAX", 0.2)
    cancelled = asyncio.Event()

    async def deaf(_: Stop) -> None:
        try:
            await asyncio.sleep(LIMIT_S)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async def asking(_: Stop) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    assert await serve({"deaf": deaf, "asking": asking}) == 1
    assert cancelled.is_set()


async def test_probes_answer_while_loops_drain() -> None:
    """The HTTP server ends last, so that probes reach the service until the end."""
    port = free_port()
    answers: list[int] = []

    async def work(stop: Stop) -> None:
        async with httpx.AsyncClient(base_url=f"http://{LOOPBACK}:{port}") as client:
            answers.append((await client.get("/livez")).status_code)
            os.kill(os.getpid(), signal.SIGTERM)
            await stop.wait()
            answers.append((await client.get("/livez")).status_code)

    assert await serve({"work": work}, port) == 0
    assert answers == [200, 200]
    with pytest.raises(httpx.TransportError):
        async with httpx.AsyncClient() as client:
            await client.get(f"http://{LOOPBACK}:{port}/livez")


async def test_a_taken_port_is_reported_at_once() -> None:
    """The error comes before any loop has begun, with the remedy in the text."""
    began = asyncio.Event()

    async def work(_: Stop) -> None:
        began.set()

    with socket.socket() as taken:
        taken.bind((LOOPBACK, 0))
        taken.listen()
        with pytest.raises(OSError, match="choose another port"):
            await serve({"work": work}, taken.getsockname()[1])
    assert not began.is_set()


async def test_what_is_not_there_yet_is_waited_for() -> None:
    """PostgreSQL is away at the start: alive, not started, and the loops begin once it is there."""
    port = free_port()
    answers: list[tuple[int, int]] = []
    tries: list[bool] = []

    async def prepare() -> None:
        async with httpx.AsyncClient(base_url=f"http://{LOOPBACK}:{port}") as client:
            live, ready = [(await client.get(p)).status_code for p in ("/livez", "/readyz")]
            answers.append((live, ready))
        tries.append(True)
        if len(tries) < 3:
            raise Transient("PostgreSQL: not there")

    async def work(stop: Stop) -> None:
        assert len(tries) == 3
        os.kill(os.getpid(), signal.SIGTERM)
        await stop.wait()

    assert await serve({"work": work}, port, prepare) == 0
    assert answers == [(200, 503)] * 3


@pytest.mark.parametrize("error", [RuntimeError("a bug"), Invalid("endpoints.0.url", "not https")])
async def test_a_start_that_cannot_succeed_ends_the_service(
    error: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    """No loop begins; the reason is logged, without a traceback where a setting is wrong."""
    configure_logging("test")
    began = asyncio.Event()

    async def prepare() -> None:
        raise error

    async def work(_: Stop) -> None:
        began.set()

    assert await serve({"work": work}, prepare=prepare) == 1
    assert not began.is_set()
    shown = capsys.readouterr().err
    assert str(error) in shown
    assert ("Traceback" in shown) == isinstance(error, RuntimeError)


async def test_the_collector_is_spared_before_the_loops_begin() -> None:
    """For every service the collector skips what was loaded, and its threshold is raised."""
    before = gc.get_threshold()
    seen: list[tuple[int, int]] = []

    async def work(_: Stop) -> None:
        seen.append((gc.get_threshold()[0], gc.get_freeze_count()))

    try:
        assert await serve({"work": work}) == 0
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)
    assert seen[0][0] == YOUNG_OBJECTS
    assert seen[0][1] > 0


async def test_a_stop_before_the_start_is_heard() -> None:
    """The service still waits for its dependencies."""

    async def prepare() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        raise Transient("PostgreSQL: not there")

    async def work(_: Stop) -> None:
        raise AssertionError("began")

    assert await serve({"work": work}, prepare=prepare) == 0


async def test_stop_waits_and_wakes() -> None:
    """A wait ends with its time, or with the stop."""
    stop = Stop()
    assert not stop
    assert not await stop.wait(0.01)
    waiting = asyncio.create_task(stop.wait(LIMIT_S))
    await asyncio.sleep(0)
    stop.set()
    assert await waiting
    assert stop
    assert await stop.wait()


def test_backoff_doubles_within_its_bounds() -> None:
    """It is 0.1 s at first, never more than five seconds, and starts anew after a success."""
    backoff = Backoff()
    waits = [backoff.next() for _ in range(12)]
    assert waits[:4] == [FIRST_S, 2 * FIRST_S, 4 * FIRST_S, 8 * FIRST_S]
    assert all(a <= b for a, b in pairwise(waits))
    assert waits[-3:] == [LONGEST_S] * 3
    backoff.reset()
    assert backoff.next() == FIRST_S


def test_the_clock_is_in_utc_and_does_not_go_back() -> None:
    """It is the only place that reads the system's clock."""
    clock = SystemClock()
    offset = clock.now().utcoffset()
    assert offset is not None
    assert not offset
    first = clock.monotonic()
    assert clock.monotonic() >= first
