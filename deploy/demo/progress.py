"""Shows the running step of the demo and its progress; plain lines where there is no terminal."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)

from shared.runtime.terminal import visible

PLAIN_INTERVAL_S = 5.0
"""Seconds between progress lines of a long step where lines cannot be redrawn."""

Reached = Callable[[int], None]
"""Called with the number finished of the total."""


@dataclass(slots=True)
class Step:
    """One step: call `reached` with its progress; set `note` to its result."""

    reached: Reached
    began: float
    note: str = ""
    """The result, shown behind the finished step."""

    @property
    def seconds(self) -> float:
        """How long it has been running."""
        return time.monotonic() - self.began


@contextmanager
def step(console: Console, title: str, total: int | None = None) -> Iterator[Step]:
    """Show `title` while the block runs, then how long it took and the step's note.

    Both are text, which may contain foreign names: nothing in it is interpreted as markup.
    """
    title = as_text(title)
    with _running(console, title, total) as reached:
        current = Step(reached, time.monotonic())
        try:
            yield current
        except BaseException:
            console.print(f"[red]✗[/] {title} [dim]({current.seconds:.1f} s)[/]")
            raise
    console.print(
        f"[green]✓[/] {title} [dim]({current.seconds:.1f} s)[/]  {as_text(current.note)}",
        soft_wrap=True,
    )


def as_text(text: str) -> str:
    """Escapes text for printing by rich: no markup, no control sequences.

    >>> as_text("[red]a\\x1b[2J")
    '\\\\[red]a\\\\x1b[2J'
    """
    return escape(visible(text))


def _running(console: Console, title: str, total: int | None) -> AbstractContextManager[Reached]:
    return (_live if console.is_terminal else _plain)(console, title, total)


@contextmanager
def _live(console: Console, title: str, total: int | None) -> Iterator[Reached]:
    counts = [BarColumn(), MofNCompleteColumn()] if total else []
    columns = (SpinnerColumn(), TextColumn("{task.description}"), *counts, TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as display:
        line = display.add_task(title, total=total)
        yield lambda count: display.update(line, completed=count)


@contextmanager
def _plain(console: Console, title: str, total: int | None) -> Iterator[Reached]:
    console.print(f"→ {title} …")
    said = time.monotonic()

    def reached(count: int) -> None:
        nonlocal said
        if time.monotonic() - said >= PLAIN_INTERVAL_S:
            said = time.monotonic()
            console.print(f"  {count:,}" + (f" of {total:,}" if total else ""))

    yield reached
