"""Scoring as a process that sends itself a signal at a named point.

    python -m tests.chaos.crash_point --point before_fence --after 5 --signal SIGKILL
    python -m tests.chaos.crash_point --clock FILE  (its seconds are added to the wall clock)

The service is the real one; only the named function is wrapped. The clock is offset inside the
process: libfaketime would do the same from outside, but is on few machines.
"""

import argparse
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg

from services.scoring.commands.service import SPEC
from services.scoring.store.batch import BatchStore
from shared.kafka.relay import Relay
from shared.postgres.ledger import Ledger
from shared.runtime.clock import SystemClock
from shared.runtime.command_line import main as command_line

POINTS = (
    "in_copy",
    "before_fence",
    "after_fence",
    "before_commit",
    "after_commit",
    "after_send",
)


class CrashPoint:
    """Sends the signal to its own process when it is reached for the `after`th time."""

    def __init__(self, after: int, number: signal.Signals) -> None:
        self._left = after
        self._number = number

    def __call__(self) -> None:
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), self._number)


def _before(owner: type, name: str, fuse: CrashPoint) -> None:
    original: Callable[..., Awaitable[Any]] = getattr(owner, name)

    async def wrapped(*args: Any, **kwargs: Any) -> Any:
        fuse()
        return await original(*args, **kwargs)

    setattr(owner, name, wrapped)


def _after(owner: type, name: str, fuse: CrashPoint) -> None:
    original: Callable[..., Awaitable[Any]] = getattr(owner, name)

    async def wrapped(*args: Any, **kwargs: Any) -> Any:
        result = await original(*args, **kwargs)
        fuse()
        return result

    setattr(owner, name, wrapped)


def _within_copy(fuse: CrashPoint) -> None:
    """The server has received COPY and waits for data."""
    connection: Any = asyncpg.Connection
    copy_in, copy_records = connection._copy_in, connection.copy_records_to_table

    async def rows(self: Any, table: str, *, records: Iterable[Any], **kwargs: Any) -> Any:
        def met() -> Iterator[Any]:
            for number, record in enumerate(records):
                if number == 1:
                    fuse()
                yield record

        return await copy_records(self, table, records=met(), **kwargs)

    async def raw(self: Any, statement: str, source: Any, timeout: float | None) -> Any:  # noqa: ASYNC109
        data = source.read() if hasattr(source, "read") else source

        async def pieces() -> AsyncIterator[Any]:
            yield data[: len(data) // 2]
            fuse()
            yield data[len(data) // 2 :]

        return await copy_in(self, statement, pieces(), timeout)

    connection.copy_records_to_table, connection._copy_in = rows, raw


def arm(point: str, fuse: CrashPoint) -> None:
    """Wraps the function that `point` names."""
    if point == "in_copy":
        _within_copy(fuse)
    elif point == "before_fence":
        _before(Ledger, "advance", fuse)
    elif point == "after_fence":
        _after(Ledger, "advance", fuse)
    elif point == "before_commit":
        _after(BatchStore, "write", fuse)
    elif point == "after_commit":
        _before(Relay, "flush", fuse)
    else:
        _after(Relay, "flush", fuse)


def shift_clock(file: Path) -> None:
    """Adds the seconds in `file` to the wall clock."""
    true = SystemClock.now

    def now(self: SystemClock) -> datetime:
        return true(self) + timedelta(seconds=float(file.read_text()))

    SystemClock.now = now  # type: ignore[method-assign]


def main() -> int:
    """Arms the crash point, and runs scoring."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--point", choices=POINTS)
    parser.add_argument("--after", type=int, default=1)
    parser.add_argument("--signal", default="SIGKILL")
    parser.add_argument("--clock", type=Path)
    given = parser.parse_args()
    if given.point:
        arm(given.point, CrashPoint(given.after, signal.Signals[given.signal]))
    if given.clock:
        shift_clock(given.clock)
    return command_line(SPEC, argv=["run"])


if __name__ == "__main__":
    sys.exit(main())
