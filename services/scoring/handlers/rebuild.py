"""Rebuilds states from the stored events after the feature set has changed.

Scoring's partitions are stopped meanwhile (ingest is not), so that no worker folds events into a
state that is being rebuilt; new records wait in Kafka. A rebuild is safe to interrupt and to
repeat: rebuilt states are kept.
"""

from collections.abc import AsyncIterator, Callable, Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np

from services.scoring.core.features.decode import columns_of, kind_of
from services.scoring.core.features.fold import States, fold
from services.scoring.core.features.state import empty, to_bytes
from services.scoring.store.rebuild import Rebuilding
from shared.contracts.activity import DECODER
from shared.kernel.arrays import Flags

SLICE_CUSTOMERS = 50_000
"""Customers rebuilt at once: about 50 MB, and one scan of the history per slice."""


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """Counts of rebuilt states and of the events they were rebuilt from."""

    customers: int
    events: int
    bare: int
    """Customers without a stored event that changes a state (any more)."""


async def rebuild(store: Rebuilding, progress: Callable[[Rebuilt, int], None]) -> Rebuilt:
    """Rebuilds every state of another feature set.

    Calls `progress` after each slice with the counts so far and the total number of customers."""
    done = Rebuilt(0, 0, 0)
    async with store.stopped():
        total = await store.outdated()
        several = frozenset(primary for _, primary in await store.members())
        parts = -(-total // SLICE_CUSTOMERS)
        for part in range(parts):
            made = await _slice(store, part, parts, several)
            done = Rebuilt(
                done.customers + made.customers, done.events + made.events, done.bare + made.bare
            )
            progress(done, total)
        await _members(store)
    return done


async def _slice(store: Rebuilding, part: int, parts: int, several: frozenset[str]) -> Rebuilt:
    names = await store.customers(part, parts)
    states, count, seen = await _folded(names, store.events(part, parts), several)
    await store.put(list(zip(names, to_bytes(states), strict=True)))
    return Rebuilt(len(names), count, int((~seen).sum()))


async def _members(store: Rebuilding) -> None:
    """Makes anew what came with each id of customers with several."""
    names = [name for name, _ in await store.members()]
    if names:
        states, _, _ = await _folded(names, store.member_events())
        await store.put_members(list(zip(names, to_bytes(states), strict=True)))


async def _folded(
    names: Sequence[str],
    chunks: AsyncIterator[Sequence[tuple[str, bytes]]],
    several: Collection[str] = (),
) -> tuple[States, int, Flags]:
    """Returns the states of these customers, the number of events, and who had any.

    An event that two ids of one of `several` both brought counts once, as in the stream.
    """
    counted: set[tuple[str, str, str]] = set()
    row_of = {name: row for row, name in enumerate(names)}
    states, count = empty(len(names)), 0
    seen = np.zeros(len(names), np.bool_)
    async for chunk in chunks:
        read = [
            (name, activity)
            for name, activity in ((name, DECODER.decode(payload)) for name, payload in chunk)
            if name not in several or _is_new(counted, (name, activity.source, activity.id))
        ]
        kinds = [kind_of(activity) for _, activity in read]
        changing = [at for at, kind in enumerate(kinds) if kind]
        if not changing:
            continue
        events = columns_of(
            [read[at][1] for at in changing],
            [kinds[at] for at in changing],
            [row_of[read[at][0]] for at in changing],
        )
        touched, row = np.unique(events.row, return_inverse=True)
        states[touched] = fold(states[touched], replace(events, row=row))
        seen[touched] = True
        count += len(changing)
    return states, count, seen


def _is_new(counted: set[tuple[str, str, str]], key: tuple[str, str, str]) -> bool:
    """Returns whether a key was not counted before, and counts it."""
    new = key not in counted
    counted.add(key)
    return new
