"""Imports of history per partition: which one is under way and which have ended.

While an import is under way, the partition's silence sweep pauses, because states are incomplete.
The import's end marker, or an operator's command, ends the pause. The functions change a
partition's progress in place.
"""

from collections.abc import Iterable, Mapping, MutableMapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

BACKFILL: Final = "backfill"
"""Key in the progress: the import under way; the partition's sweep pauses meanwhile."""
BACKFILL_AT: Final = "backfill_at"
"""Key in the progress: when the newest record of that import arrived, Unix seconds UTC."""
ENDED: Final = "ended"
"""Key in the progress: imports that have ended, the latest last."""
ENDED_MAX: Final = 16
"""How many ended imports are remembered. Late records of these (through another upstream partition,
or as a replayed dead letter) build state silently and do not pause the sweep again."""

NAME_CHARS_SHOWN: Final = 100
"""Characters shown of an import's name, which the sender chooses: enough to recognise it."""


@dataclass(frozen=True, slots=True)
class Resting:
    """An import, the partitions with a sweep paused for it, and its newest record's arrival."""

    name: str
    partitions: list[int]
    newest: datetime | None
    """None: the progress was written by a version that did not record it."""


def under_way(progress: Mapping[str, Any]) -> str | None:
    """Return the import that is under way, or None."""
    found = progress.get(BACKFILL)
    return found if isinstance(found, str) else None


def note(progress: MutableMapping[str, Any], records: Iterable[tuple[str, int]]) -> None:
    """Record the import of these records, given as (import, arrival in Unix ms), as under way.

    Imports that have ended are ignored. Of several imports, the last record's counts.
    """
    gone = _ended(progress)
    for name, received_ms in records:
        if name not in gone:
            before = progress.get(BACKFILL_AT, 0.0) if progress.get(BACKFILL) == name else 0.0
            progress[BACKFILL] = name
            progress[BACKFILL_AT] = max(before, received_ms / 1_000)


def end(progress: MutableMapping[str, Any], named: str | None) -> None:
    """End the import `named`, or without a name the one under way; another one goes on."""
    current = under_way(progress)
    over = named or current
    if over is None:
        return
    if over == current:
        progress.pop(BACKFILL, None)
        progress.pop(BACKFILL_AT, None)
    others = [one for one in _ended(progress) if one != over]
    progress[ENDED] = [*others, over][-ENDED_MAX:]


def resting(partitions: Iterable[tuple[int, Mapping[str, Any]]]) -> list[Resting]:
    """Return the imports for which any of these partitions pause their sweep, by name."""
    found: dict[str, Resting] = {}
    for number, progress in partitions:
        if (name := under_way(progress)) is None:
            continue
        seen = progress.get(BACKFILL_AT)
        newest = datetime.fromtimestamp(seen, UTC) if isinstance(seen, float) else None
        before = found.get(name)
        known = [] if before is None else [before.newest]
        times = [at for at in (*known, newest) if at is not None]
        numbers = [] if before is None else before.partitions
        found[name] = Resting(name, [*numbers, number], max(times, default=None))
    return [found[name] for name in sorted(found)]


def described(one: Resting) -> str:
    """Return the line that is shown for an import under way.

    >>> described(Resting("jan", [0, 3], datetime(2026, 3, 1, 8, tzinfo=UTC)))
    "import 'jan': the sweep of 2 partitions rests; its newest record came 2026-03-01 08:00:00Z"
    """
    count = len(one.partitions)
    came = "" if one.newest is None else f"; its newest record came {one.newest:%F %T}Z"
    many = "partition" if count == 1 else "partitions"
    return f"import {one.name[:NAME_CHARS_SHOWN]!r}: the sweep of {count} {many} rests{came}"


def _ended(progress: Mapping[str, Any]) -> list[str]:
    found = progress.get(ENDED)
    return found if isinstance(found, list) else []
