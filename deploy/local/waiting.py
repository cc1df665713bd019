"""Finds free TCP ports on the loopback address, and waits for conditions."""

import asyncio
import random
import socket
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

LOOPBACK = "127.0.0.1"
PORTS = range(15_000, 30_000)
"""Below the range from which the kernel takes ports for outgoing connections (32768 up on
Linux): a client that retries a stopped server would sooner or later connect to itself and so
occupy the server's port."""
POLL_S = 0.05
"""Pause between two checks, in seconds: short compared with any server's start."""

T = TypeVar("T")


def free_port() -> int:
    """Returns a port that is free at this moment."""
    while not is_free(port := random.choice(PORTS)):  # noqa: S311 (not a secret)
        pass
    return port


LET_GO_S = 3.0
"""How long the server of a killed run may take to end and release its port."""


def kept_port(path: Path) -> int:
    """Returns the port stored in `path` if it is or soon becomes free, else a new one, stored.

    A server that comes back on its old port is found again by clients that lost it.
    """
    if path.exists():
        port = int(path.read_text())
        if until(lambda: is_free(port), limit_s=LET_GO_S):
            return port
    port = free_port()
    path.write_text(str(port))
    return port


def is_free(port: int) -> bool:
    """Returns whether a server could listen on this port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def answers(port: int) -> bool:
    """Returns whether a server accepts connections on this port."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((LOOPBACK, port)) == 0


def until(check: Callable[[], bool], *, limit_s: float) -> bool:
    """Polls until `check` holds (True) or `limit_s` seconds have passed (False)."""
    deadline = time.monotonic() + limit_s
    while not check():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_S)
    return True


def complete(work: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine to its end, also where this thread already runs an event loop."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()
