"""Isolates failing items of work that are not records of a queue: sets them aside.

`each` processes a batch of items. Where the batch raises, it is processed item by item, so that the
fault is attributed to an item and all others are served. Where processes ended, the items that they
had begun (`Suspects`) are processed alone from the second time on. An item on which three attempts
in a row ended while no other of these was processed is set aside until an operator releases it.
"""

import asyncio
import contextlib
import traceback
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol
from uuid import uuid4

import structlog

from shared.kernel.errors import Transient
from shared.postgres.ledger import Fenced
from shared.postgres.suspects import Suspect
from shared.runtime.clock import Clock

ALONE_FROM: Final = 2
"""Failures in a row from which on an item is processed alone. A single one is probably a kill,
after which all goes on as fast as before."""

ALONE_MAX: Final = 3
"""Attempts alone, crashes and exceptions together, after which it is set aside."""

MARKED_BATCHES: Final = 20
"""Batches of a kind that are noted after a start. What a process ended on is still due, and so is
among the first that its successor processes."""

ASIDE_MAX: Final = 100
"""Items of a kind that may be set aside. More than that is not a fault of items: it ends the
process, so that it is seen. Below what one batch holds, so that items behind them are reached."""

READ_S: Final = 10.0
"""How old the cached suspects may be: a release takes effect within it."""

NOTE_S_MAX: Final = 1.0
"""How long a note may take, in seconds. A note that is not written counts against no item; one that
is not deleted counts as one crash too many, of the several that it takes."""

WAIT_S_MAX: Final = 10.0
"""How long an item waits for another kind's item that is processed alone; it is due again soon."""

DIED: Final = f"{ALONE_MAX} processes in a row ended while they worked on this alone"

PASSING: Final = (Transient, Fenced)
"""Exceptions that are no fault of an item: errors that pass, and work that another process now
owns."""

Work = Callable[[Sequence[str]], Awaitable[object]]
"""Processes some of the items, all or none."""

log = structlog.get_logger(__name__)


class Notes(Protocol):
    """Stores what was begun and the failures of items (`Suspects`)."""

    async def blame(self, by: str) -> None: ...
    async def all(self) -> list[Suspect]: ...
    async def begin(self, kind: str, items: Sequence[str], by: str) -> None: ...
    async def end(self, kind: str, by: str, cleared: Sequence[str] = ()) -> None: ...
    async def failed(self, suspect: Suspect) -> None: ...


@dataclass(slots=True)
class ItemIsolation:
    """The isolation of one process: an item processed alone is alone among all kinds."""

    notes: Notes
    clock: Clock
    observe: Callable[[Mapping[str, int]], None]
    """Called with the number of items of each kind that are set aside."""
    by: str = field(default_factory=lambda: uuid4().hex)
    """Identifies this process."""
    _known: dict[tuple[str, str], Suspect] = field(default_factory=dict)
    _read_at: float | None = None
    _marked: Counter[str] = field(default_factory=Counter)
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def each(
        self, kind: str, items: Iterable[str], work: Work, *, outer: bool = False
    ) -> int:
        """Process all items that are not set aside; returns how many were processed.

        `outer`: the work has items of its own, to which a crash is attributed. Raises Transient,
        and what items raise once too many are set aside.
        """
        await self.read()
        usual, alone = self.sift(kind, items)
        done = await self._together(kind, usual, work, outer=outer) if usual else 0
        for item in alone:
            done += await self.one(kind, item, work, outer=outer)
        return done

    async def read(self) -> None:
        """Read the suspects, if the cache is older than `READ_S`. Raises Transient."""
        now = self.clock.monotonic()
        if self._read_at is not None and now - self._read_at < READ_S:
            return
        if self._read_at is None:
            await self.notes.blame(self.by)
        found = await self.notes.all()
        self._known = {(each.kind, each.item): each for each in found}
        self._read_at = now
        self._count()

    def sift(self, kind: str, items: Iterable[str]) -> tuple[list[str], list[str]]:
        """Return the items to process together, and those to process alone, without those set
        aside."""
        usual: list[str] = []
        alone: list[str] = []
        for item in items:
            suspect = self._known.get((kind, item))
            if suspect is None or (suspect.aside_at is None and suspect.failures < ALONE_FROM):
                usual.append(item)
            elif suspect.aside_at is None:
                alone.append(item)
        return usual, alone

    def avoided(self, kind: str) -> list[str]:
        """Return items that belong in no batch: to be processed alone, or set aside."""
        return [item for item, _ in self._isolated(kind)]

    def waiting(self, kind: str) -> list[str]:
        """Return items that are to be processed alone."""
        return [item for item, aside in self._isolated(kind) if not aside]

    @property
    def aside(self) -> dict[str, int]:
        """How many items of each kind are set aside."""
        return dict(Counter(s.kind for s in self._known.values() if s.aside_at is not None))

    async def note(self) -> str | None:
        """Describe for `/readyz` what is set aside, and what to do."""
        if not self.aside:
            return None
        many = ", ".join(f"{count} of {kind}" for kind, count in sorted(self.aside.items()))
        return f"{many}: see the command `aside list`; mend the fault, then `aside release`"

    @contextlib.asynccontextmanager
    async def begun(
        self, kind: str, items: Sequence[str], *, outer: bool = False
    ) -> AsyncIterator[None]:
        """Wrap work on a batch: noted if it is among the first and the note is written in time."""
        marked = not outer and self._marked[kind] < MARKED_BATCHES
        held = [item for item in items if (kind, item) in self._known]
        if marked:
            self._marked[kind] += 1
            marked = await _in_time(self.notes.begin(kind, items, self.by))
        try:
            yield
        except BaseException:
            if marked:
                await self._survived(kind)
            raise
        if (marked or held) and await _in_time(self.notes.end(kind, self.by, held)):
            for item in held:
                self._known.pop((kind, item), None)

    async def one(self, kind: str, item: str, work: Work, *, outer: bool = False) -> int:
        """Process one item with nothing else beside it; returns 1 if it was done, else 0."""
        suspect = self._known.get((kind, item))
        if suspect is not None and suspect.failures >= ALONE_FROM + ALONE_MAX:
            await self._set_aside(kind, item, suspect.failures, DIED)
            return 0
        async with self._alone(outer=outer) as mine:
            if not mine:
                return 0
            if not outer:
                await self.notes.begin(kind, [item], self.by)
            try:
                await work([item])
            except PASSING:
                await self._survived(kind)
                raise
            except Exception as error:  # noqa: BLE001 (attributed to the item, and kept)
                await self._failed(kind, item, error)
                return 0
            except BaseException:
                await self._survived(kind)
                raise
            await self.notes.end(kind, self.by, [item])
            self._known.pop((kind, item), None)
            return 1

    async def _together(self, kind: str, items: list[str], work: Work, *, outer: bool) -> int:
        try:
            async with self.begun(kind, items, outer=outer):
                await work(items)
        except PASSING:
            raise
        except Exception as error:  # noqa: BLE001 (raised again by the item that brings it out)
            log.warning("a batch failed: its items one by one", kind=kind, why=where(error))
            return sum([await self.one(kind, item, work, outer=outer) for item in items])
        return len(items)

    async def _failed(self, kind: str, item: str, error: Exception) -> None:
        before = self._known.get((kind, item))
        failures = max(ALONE_FROM, 0 if before is None else before.failures) + 1
        log.error("an item failed", kind=kind, failures=failures, exc_info=error)
        await self.notes.end(kind, self.by)
        if failures < ALONE_FROM + ALONE_MAX:
            await self._keep(Suspect(kind, item, failures, where(error), None))
        elif self.aside.get(kind, 0) < ASIDE_MAX:
            await self._set_aside(kind, item, failures, where(error))
        else:
            raise error

    async def _set_aside(self, kind: str, item: str, failures: int, reason: str) -> None:
        await self._keep(Suspect(kind, item, failures, reason, self.clock.now()))
        log.error("an item is set aside", kind=kind, why=reason)
        self._count()

    async def _keep(self, suspect: Suspect) -> None:
        await self.notes.failed(suspect)
        self._known[suspect.kind, suspect.item] = suspect

    async def _survived(self, kind: str) -> None:
        """Note that the work failed for other reasons and the process lives."""
        with contextlib.suppress(Transient):  # then it counts as a crash, one of several
            await self.notes.end(kind, self.by)

    def _isolated(self, kind: str) -> list[tuple[str, bool]]:
        return [
            (s.item, s.aside_at is not None)
            for s in self._known.values()
            if s.kind == kind and (s.aside_at is not None or s.failures >= ALONE_FROM)
        ]

    @contextlib.asynccontextmanager
    async def _alone(self, *, outer: bool) -> AsyncIterator[bool]:
        """Wait for the turn to process alone; yields False when it did not come in time."""
        if outer:
            yield True
            return
        try:
            async with asyncio.timeout(WAIT_S_MAX):
                await self._lock.acquire()
        except TimeoutError:
            yield False
            return
        try:
            yield True
        finally:
            self._lock.release()

    def _count(self) -> None:
        self.observe(self.aside)


async def _in_time(note: Awaitable[None]) -> bool:
    """Returns whether the note was written. The work may hold the last connection, and goes on
    without."""
    try:
        async with asyncio.timeout(NOTE_S_MAX):
            await note
    except (Transient, TimeoutError) as trouble:
        log.warning("not noted", why=type(trouble).__name__)
        return False
    return True


def where(error: BaseException) -> str:
    """Returns the exception's type and place; not its message, which may contain customer data.

    >>> where(KeyError("Ann"))
    'KeyError'
    """
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return type(error).__name__
    last = frames[-1]
    return f"{type(error).__name__} in {Path(last.filename).name}, line {last.lineno}"
