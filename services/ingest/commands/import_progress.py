"""Shows how far an import is: a bar at a terminal, a line now and then elsewhere.

It also carries the interruption: Ctrl-C or SIGTERM raises `Interrupted` at the next report, when no
send is under way, so that the end marker can follow.
"""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from shared.runtime.clock import Clock
from shared.runtime.terminal import visible

PLAIN_INTERVAL_S: Final = 5.0
"""Seconds between progress lines where lines cannot be redrawn."""
BRIEF_S: Final = 0.1
"""Seconds before which a speed means nothing."""
SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class Interrupted(Exception):  # noqa: N818 (a person's wish, no error)
    """The import was asked to stop."""


class ImportProgress:
    """Reports on the error stream; use `shown` around the work."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._asked = False
        self._title = ""
        self._total = 0
        self._began = self._reported = clock.monotonic()
        # The stream itself: what is printed otherwise has its control characters escaped.
        console = Console(file=sys.__stderr__)
        self._bar = Progress(
            TextColumn("{task.description}"), BarColumn(),
            TextColumn("{task.completed:,.0f} rows, {task.fields[speed]:,.0f} rows/s"),
            TimeRemainingColumn(), console=console, transient=True,
            redirect_stdout=False, redirect_stderr=False,
        ) if console.is_terminal else None  # fmt: skip
        self._task: Any = None

    @contextmanager
    def shown(self) -> Iterator[Self]:
        """Within the block progress is shown, and a signal interrupts at the next report."""
        before = {number: signal.signal(number, self._ask) for number in SIGNALS}
        try:
            yield self
        finally:
            self.clear()
            for number, handler in before.items():
                signal.signal(number, handler)

    def clear(self) -> None:
        """Take the bar away before something is printed; the next report shows it again."""
        if self._bar is not None:
            self._bar.stop()

    def expect(self, rows: int) -> None:
        """Set the number of rows of the parts that follow; 0: not known."""
        self._total = rows

    def _begin(self, title: str) -> None:
        self._title = title
        self._began = self._reported = self._clock.monotonic()
        if self._bar is not None:
            if self._task is not None:
                self._bar.remove_task(self._task)
            self._task = self._bar.add_task(escape(title), total=self._total or None, speed=0.0)

    def reached(self, title: str, rows: int) -> None:
        """Report the rows so far of the part `title`. Raises Interrupted when a signal came."""
        if self._asked:
            raise Interrupted
        title = visible(title)
        if title != self._title:
            self._begin(title)
        now = self._clock.monotonic()
        elapsed = now - self._began
        speed = rows / elapsed if elapsed > BRIEF_S else 0.0
        if self._bar is not None:
            self._bar.start()
            self._bar.update(self._task, completed=rows, speed=speed)
        elif now - self._reported >= PLAIN_INTERVAL_S:
            self._reported = now
            left = ""
            if self._total > rows:
                left = f", about {(self._total - rows) / max(speed, 1e-9):,.0f} s left"
            print(f"{self._title}: {rows:,} rows, {speed:,.0f} rows/s{left}", file=sys.stderr)

    def _ask(self, number: int, _: FrameType | None) -> None:
        """Note the wish; a second signal ends the process at once."""
        self._asked = True
        self.clear()
        signal.signal(number, signal.SIG_DFL)
        print("stopping; once more ends it at once", file=sys.stderr)
