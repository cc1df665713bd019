"""Failures counted against items, in memory."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from shared.postgres.suspects import Suspect
from shared.runtime.isolation import ItemIsolation
from tests.fakes.clock import SetClock


@dataclass
class FailuresInMemory:
    """`Suspects` in memory: what remains after a crash."""

    begun: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    held: dict[tuple[str, str], Suspect] = field(default_factory=dict)
    written: int = 0
    dead: bool = False
    """The process has crashed: nothing is written any more."""

    async def blame(self, by: str) -> None:
        """Do as the SQL statement does."""
        for kind, other in [key for key in self.begun if key[1] != by]:
            for item in self.begun.pop((kind, other)):
                old = self.held.get((kind, item), Suspect(kind, item, 0, "died", None))
                self.held[kind, item] = replace(old, failures=old.failures + 1)

    async def all(self) -> list[Suspect]:
        """Return every row."""
        return list(self.held.values())

    async def begin(self, kind: str, items: Sequence[str], by: str) -> None:
        """Write one row of a process and kind."""
        self.written += 1
        self.begun[kind, by] = list(items)

    async def end(self, kind: str, by: str, cleared: Sequence[str] = ()) -> None:
        """Delete the row, unless the process has crashed."""
        if self.dead:
            return
        self.begun.pop((kind, by), None)
        for item in cleared:
            found = self.held.get((kind, item))
            if found is not None and found.aside_at is None:
                self.held.pop((kind, item))

    async def failed(self, suspect: Suspect) -> None:
        """Insert or change a row."""
        self.held[suspect.kind, suspect.item] = suspect


def no_failures() -> ItemIsolation:
    """Returns an isolation without failures against any item."""
    return ItemIsolation(FailuresInMemory(), SetClock(), lambda _: None)
