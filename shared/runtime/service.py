"""The life of a service process: start the loops and the HTTP server, drain on a signal.

A loop is `async def loop(stop: Stop)`; it returns soon after `stop` is set, having finished its
current work. A loop that raises ends the process with status 1, so that a bug is noticed. What has
to be read before the first loop is awaited, while the process is alive and not ready.
"""

import asyncio
import contextlib
import signal
import socket
from collections.abc import Awaitable, Callable, Iterator

import structlog
import uvicorn
from fastapi import FastAPI

from shared.kernel.errors import Invalid, Transient
from shared.runtime.backoff import Backoff
from shared.runtime.gc_tuning import spare_collector
from shared.runtime.health import CHECK_S, Health
from shared.runtime.protocol import HEAD_BYTES_MAX, KEEP_ALIVE_S, BoundedProtocol
from shared.runtime.settings import HttpSettings

DRAIN_SECONDS_MAX = 8.0
"""How long loops may take to finish their batch; with the HTTP server's share it stays under the 10
s that a service promises after SIGTERM."""

HTTP_DRAIN_SECONDS_MAX = 1
"""How long open requests may take once the loops are done."""

log = structlog.get_logger(__name__)


class Stop:
    """Set once, when the service must end."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def set(self) -> None:
        """Ask every loop to end."""
        self._event.set()

    def __bool__(self) -> bool:
        return self._event.is_set()

    async def wait(self, seconds: float | None = None) -> bool:
        """Sleep until stopped or until `seconds` have passed; True when stopped."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._event.wait(), seconds)
        return self._event.is_set()


Loop = Callable[[Stop], Awaitable[None]]
Prepare = Callable[[], Awaitable[None]]
"""Reads or writes what the loops begin with; repeated from its beginning after a Transient."""


class _Server(uvicorn.Server):
    """uvicorn without its own signal handling: the service decides when to drain."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def listen(http: HttpSettings) -> socket.socket:
    """Binds the HTTP socket now, so that a taken port fails at start-up; OSError if taken."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((http.host, http.port))
    except OSError as error:
        listener.close()
        raise OSError(
            error.errno,
            f"cannot listen on {http.host}:{http.port} ({error.strerror}); "
            f"choose another port with {http.variable('port')}",
        ) from error
    return listener


async def run(
    loops: dict[str, Loop],
    app: FastAPI,
    http: HttpSettings,
    health: Health,
    prepare: Prepare | None = None,
) -> int:
    """Runs until SIGTERM/SIGINT or until a loop ends; returns the exit status.

    `prepare` runs before the loops. An exception of it other than Transient ends the process with
    status 1.
    """
    stop = Stop()
    event_loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        event_loop.add_signal_handler(signum, stop.set)

    listener = listen(http)
    server = _Server(
        uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            lifespan="off",
            http=BoundedProtocol,
            ws="none",
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_S,
            h11_max_incomplete_event_size=HEAD_BYTES_MAX,
            timeout_graceful_shutdown=HTTP_DRAIN_SECONDS_MAX,
        )
    )
    log.info("listening", host=http.host, port=listener.getsockname()[1])
    serving = asyncio.create_task(server.serve(sockets=[listener]), name="http")
    stopping = asyncio.create_task(stop.wait(), name="stop")
    tasks = {asyncio.create_task(_prepared(prepare, stop), name="prepare")}
    await asyncio.wait({stopping, serving, *tasks}, return_when=asyncio.FIRST_COMPLETED)
    if all(task.done() and not task.exception() for task in tasks) and not stop:
        spare_collector()  # everything that stays is loaded
        health.started = True
        loops = loops | {"checks": lambda stop: _check(health, stop)}
        tasks = {asyncio.create_task(_as_coroutine(fn, stop), name=n) for n, fn in loops.items()}
        await asyncio.wait({stopping, serving, *tasks}, return_when=asyncio.FIRST_COMPLETED)
    stop.set()
    log.info("draining", loops=[t.get_name() for t in tasks if not t.done()])
    _, late = await asyncio.wait(tasks, timeout=DRAIN_SECONDS_MAX) if tasks else (set(), set())
    for task in late:
        log.error("loop did not drain in time", loop=task.get_name())
        task.cancel()
    server.should_exit = True
    await asyncio.gather(serving, stopping, *late, return_exceptions=True)
    failed = [t for t in (*tasks, serving) if not t.cancelled() and t.exception()]
    for task in failed:
        error = task.exception()
        traceback_of = None if isinstance(error, Invalid) else error  # a setting needs no traceback
        log.error("loop failed", loop=task.get_name(), error=str(error), exc_info=traceback_of)
    log.info("stopped", failed=[t.get_name() for t in failed], late=len(late))
    return 1 if failed or late else 0


async def _prepared(prepare: Prepare | None, stop: Stop) -> None:
    backoff = Backoff()
    while prepare is not None and not stop:
        try:
            await prepare()
        except Transient as trouble:
            wait = backoff.next()
            log.warning("waiting before the start", trouble=str(trouble), wait_s=wait)
            await stop.wait(wait)
        else:
            return


async def _check(health: Health, stop: Stop) -> None:
    """Makes the readiness checks for the metrics, also while no probe asks for them."""
    while not stop:
        await health.missing()
        await stop.wait(CHECK_S)


async def _as_coroutine(fn: Loop, stop: Stop) -> None:
    await fn(stop)
