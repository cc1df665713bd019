"""Work on items that are no records of a queue: one that fails again and again is set aside.

`each` does a batch of items. Where the batch raises, it is done item by item, so that the fault is
put down to an item and all others are served. Where processes ended, the items that they had begun
(`Suspects`) are worked on alone from the second time on. An item on which three attempts in a row
ended while nothing else of these was worked on is set aside until an operator releases it.
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
"""Failures in a row from which on an item is worked on alone. One is a kill, after which all goes
on as fast as before."""

ALONE_MAX: Final = 3
"""Attempts alone, deaths and exceptions together, after which it is set aside."""

MARKED_BATCHES: Final = 20
"""Batches of a kind that are noted after a start. What a process died of is still due, and so is
among the first that its successor meets."""

ASIDE_MAX: Final = 100
"""Items of a kind that may be set aside. More than that is no fault of items: it ends the process,
so that it is seen. Below what one batch holds, so that those behind them are reached."""

READ_S: Final = 10.0
"""How old what is known of suspects may be: a release takes effect within it."""

NOTE_S_MAX: Final = 1.0
"""How long a note may take, in seconds. One that is not written counts against nobody, and one that
is not deleted is a death too many, of the several that it takes."""

TURN_S_MAX: Final = 10.0
"""How long an item waits for another kind's that is worked on alone; it is due again soon."""

DIED: Final = f"{ALONE_MAX} processes in a row ended while they worked on this alone"

PASSING: Final = (Transient, Fenced)
"""What is no fault of an item: trouble that passes, and work that is another process's by now."""

Work = Callable[[Sequence[str]], Awaitable[object]]
"""Does some of the items, all or none."""

log = structlog.get_logger(__name__)


class Notes(Protocol):
    """What was begun and what is held against items (`Suspects`)."""

    async def blame(self, by: str) -> None: ...
    async def all(self) -> list[Suspect]: ...
    async def begin(self, kind: str, items: Sequence[str], by: str) -> None: ...
    async def end(self, kind: str, by: str, cleared: Sequence[str] = ()) -> None: ...
    async def failed(self, suspect: Suspect) -> None: ...


@dataclass(slots=True)
class ItemIsolation:
    """One of a process: what is alone is alone among all kinds."""

    notes: Notes
    clock: Clock
    observe: Callable[[Mapping[str, int]], None]
    """Learns how many items of each kind are set aside."""
    by: str = field(default_factory=lambda: uuid4().hex)
    """This process."""
    _known: dict[tuple[str, str], Suspect] = field(default_factory=dict)
    _read_at: float | None = None
    _marked: Counter[str] = field(default_factory=Counter)
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def each(
        self, kind: str, items: Iterable[str], work: Work, *, outer: bool = False
    ) -> int:
        """Do all of them that are not set aside; returns how many were done.

        `outer`: the work has items of its own, to which a death is put down. Raises Transient, and
        what items raise once too many are set aside.
        """
        await self.read()
        usual, alone = self.sift(kind, items)
        done = await self._together(kind, usual, work, outer=outer) if usual else 0
        for item in alone:
            done += await self.one(kind, item, work, outer=outer)
        return done

    async def read(self) -> None:
        """Learn what is held against items, if that is older than `READ_S`. Raises Transient."""
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
        """Those to be done together, and those to be done alone; neither has what is set aside."""
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
        """Items that belong in no batch: to be done alone, or set aside."""
        return [item for item, _ in self._apart(kind)]

    def waiting(self, kind: str) -> list[str]:
        """Items that are to be done alone."""
        return [item for item, aside in self._apart(kind) if not aside]

    @property
    def aside(self) -> dict[str, int]:
        """How many items of each kind are set aside."""
        return dict(Counter(s.kind for s in self._known.values() if s.aside_at is not None))

    async def note(self) -> str | None:
        """For `/readyz`: what is set aside, and what to do."""
        if not self.aside:
            return None
        many = ", ".join(f"{count} of {kind}" for kind, count in sorted(self.aside.items()))
        return f"{many}: see the command `aside list`; mend the fault, then `aside release`"

    @contextlib.asynccontextmanager
    async def begun(
        self, kind: str, items: Sequence[str], *, outer: bool = False
    ) -> AsyncIterator[None]:
        """Around work on a batch: noted, where it is among the first and that can be done soon."""
        marked = not outer and self._marked[kind] < MARKED_BATCHES
        held = [item for item in items if (kind, item) in self._known]
        if marked:
            self._marked[kind] += 1
            marked = await _soon(self.notes.begin(kind, items, self.by))
        try:
            yield
        except BaseException:
            if marked:
                await self._survived(kind)
            raise
        if (marked or held) and await _soon(self.notes.end(kind, self.by, held)):
            for item in held:
                self._known.pop((kind, item), None)

    async def one(self, kind: str, item: str, work: Work, *, outer: bool = False) -> int:
        """Do one with nothing else beside it; whether it was done, as a number."""
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
            except Exception as error:  # noqa: BLE001 (put down to the item, and kept)
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
        """The work failed for other reasons and the process lives."""
        with contextlib.suppress(Transient):  # then it counts as a death, one of several
            await self.notes.end(kind, self.by)

    def _apart(self, kind: str) -> list[tuple[str, bool]]:
        return [
            (s.item, s.aside_at is not None)
            for s in self._known.values()
            if s.kind == kind and (s.aside_at is not None or s.failures >= ALONE_FROM)
        ]

    @contextlib.asynccontextmanager
    async def _alone(self, *, outer: bool) -> AsyncIterator[bool]:
        """Whether it is this one's turn."""
        if outer:
            yield True
            return
        try:
            async with asyncio.timeout(TURN_S_MAX):
                await self._turn.acquire()
        except TimeoutError:
            yield False
            return
        try:
            yield True
        finally:
            self._turn.release()

    def _count(self) -> None:
        self.observe(self.aside)


async def _soon(note: Awaitable[None]) -> bool:
    """Whether it was written. The work may hold the last connection, and goes on without."""
    try:
        async with asyncio.timeout(NOTE_S_MAX):
            await note
    except (Transient, TimeoutError) as trouble:
        log.warning("not noted", why=type(trouble).__name__)
        return False
    return True


def where(error: BaseException) -> str:
    """What was raised and where; not its words, which may hold a customer's data.

    >>> where(KeyError("Ann"))
    'KeyError'
    """
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return type(error).__name__
    last = frames[-1]
    return f"{type(error).__name__} in {Path(last.filename).name}, line {last.lineno}"
