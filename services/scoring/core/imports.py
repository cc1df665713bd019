"""Which import of history is under way in a partition, and which have ended: notes on both.

What it is for: while an import is under way the partition's sweep rests, since states are half of
something; its end marker, or an operator's command, ends the rest. Works on a partition's progress
in place.
"""

from collections.abc import Iterable, Mapping, MutableMapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

BACKFILL: Final = "backfill"
"""Progress: the import that is under way; the partition's sweep rests meanwhile."""
BACKFILL_AT: Final = "backfill_at"
"""Progress: when the newest record of that import arrived, Unix seconds UTC."""
ENDED: Final = "ended"
"""Progress: imports that have ended, the latest last."""
ENDED_MAX: Final = 16
"""How many of them are remembered: what comes late of one of these (through another partition
upstream, or as a replayed dead letter) is silent without putting the sweep to rest again."""

NAME_CHARS_SHOWN: Final = 100
"""Of an import's name, which a sender makes up: enough to know it by."""


@dataclass(frozen=True, slots=True)
class Resting:
    """An import, the partitions that rest for it, and when its newest record arrived."""

    name: str
    partitions: list[int]
    newest: datetime | None
    """None: kept by a version that did not note it."""


def under_way(progress: Mapping[str, Any]) -> str | None:
    """The import that is under way; None while there is none."""
    found = progress.get(BACKFILL)
    return found if isinstance(found, str) else None


def note(progress: MutableMapping[str, Any], records: Iterable[tuple[str, int]]) -> None:
    """Note what belongs to an import, as (import, arrival in Unix ms): it is under way, unless it
    has ended. The last import that they belong to counts."""
    gone = _ended(progress)
    for name, received_ms in records:
        if name not in gone:
            before = progress.get(BACKFILL_AT, 0.0) if progress.get(BACKFILL) == name else 0.0
            progress[BACKFILL] = name
            progress[BACKFILL_AT] = max(before, received_ms / 1_000)


def end(progress: MutableMapping[str, Any], named: str | None) -> None:
    """The import that is `named` is over, else the one under way. Another one goes on."""
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
    """The imports for which any of these partitions rest, by name."""
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
    """What is shown of an import that is under way.

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
