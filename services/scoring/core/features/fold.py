"""Folds events into states.

This is the only code that changes a state. It never mutates its input, never reads a clock and
never drops a duplicate (duplicates are dropped before).
Law, up to float rounding: `fold(fold(s, a), b) == fold(fold(s, b), a) == fold(s, a + b)`.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.scoring.core.features import memory
from services.scoring.core.features.bitmap import advance, day_of
from services.scoring.core.features.events import (
    ABOUT_POINTS,
    DAY_S,
    ENGAGED,
    Channel,
    EventColumns,
    Kind,
)
from services.scoring.core.features.interaction_kinds import fold_kinds
from services.scoring.core.features.loyalty import fold_loyalty
from services.scoring.core.features.state import (
    AMOUNT_MIN,
    CATEGORY_BUCKETS,
    CELLS,
    DAY_PARTS,
    HALF_LIVES_DAYS,
    MEASURES,
    RING_DAYS,
    WEEK_SLOTS,
    cell,
    empty,
)
from shared.kernel.arrays import Floats, Ints

States = NDArray[np.void]

_PER_S: Final = memory.decay_per_s(HALF_LIVES_DAYS)
_DECAYED: Final = {
    measure: cell("decayed") + row * len(HALF_LIVES_DAYS) for row, measure in enumerate(MEASURES)
}
_PURCHASE: Final = Kind.PURCHASE - 1


def fold(states: States, events: EventColumns) -> States:
    """Return the states after the events, in a new array; `events.row` indexes `states`."""
    folded = states.copy()
    if not len(events):
        return folded
    last_day = day_of(folded["last"][:, _PURCHASE])
    cells = folded.view(np.float64)
    base = events.row * CELLS
    kind = events.kind.astype(np.int64) - 1

    np.maximum.at(folded["ref"], events.row, events.time)
    every = np.arange(len(states))
    memory.bring(folded["decayed"], every, states["ref"], folded["ref"], _PER_S)
    np.add.at(cells, base + kind + cell("counts"), 1.0)
    np.maximum.at(cells, base + kind + cell("last"), events.time)

    purchase = np.flatnonzero(events.kind == Kind.PURCHASE)
    if len(purchase):
        _fold_purchases(folded, cells, events.select(purchase), last_day)
        _fold_sources(folded, events.select(purchase), states["last"][:, _PURCHASE])
    interaction = np.flatnonzero(np.isin(events.kind, ENGAGED))
    if len(interaction):
        at = base[interaction]
        row = events.row[interaction]
        weight = memory.weight(folded["ref"][row] - events.time[interaction], _PER_S)
        memory.add(cells, at + _DECAYED["interactions"], weight)
        own = np.flatnonzero(events.kind == Kind.INTERACTION)
        if len(own):
            fold_kinds(states, folded, events.select(own))
    ends = np.flatnonzero((events.kind == Kind.CONTRACT_ACTIVATED) & ~np.isnan(events.until))
    if len(ends):
        np.maximum.at(cells, base[ends] + cell("contract_until"), events.until[ends])
    refund = np.flatnonzero((events.kind == Kind.REFUND) & ~np.isnan(events.amount))
    if len(refund):
        np.add.at(cells, base[refund] + cell("refunded"), events.amount[refund])
    points = np.flatnonzero(np.isin(events.kind, ABOUT_POINTS))
    if len(points):
        fold_loyalty(states, folded, events.select(points))
    for name, wanted in (("survey", Kind.SURVEY), ("recommendation", Kind.RECOMMENDATION)):
        scored = np.flatnonzero((events.kind == wanted) & ~np.isnan(events.score))
        if len(scored):
            _fold_scores(folded, name, events.select(scored))
    return folded


def _fold_purchases(folded: States, cells: Floats, events: EventColumns, last_day: Ints) -> None:
    base = events.row * CELLS
    weight = memory.weight(folded["ref"][events.row] - events.time, _PER_S)
    memory.add(cells, base + _DECAYED["purchases"], weight)
    np.minimum.at(cells, base + cell("first_purchase"), events.time)
    priced = np.flatnonzero(~np.isnan(events.amount))
    if len(priced):
        at, amount = base[priced], events.amount[priced]
        memory.add(cells, at + _DECAYED["priced"], weight[priced])
        memory.add(cells, at + _DECAYED["amount"], weight[priced] * amount[:, None])
        np.add.at(cells, at + cell("priced"), 1.0)
        np.add.at(cells, at + cell("spent"), amount)
        log = np.log(np.maximum(amount, AMOUNT_MIN))
        np.add.at(cells, at + cell("log_amount"), log)
        np.add.at(cells, at + cell("log_amount_squared"), log * log)
    costed = np.flatnonzero(~np.isnan(events.amount) & ~np.isnan(events.cost))
    if len(costed):
        np.add.at(cells, base[costed] + cell("cost"), events.cost[costed])
        np.add.at(cells, base[costed] + cell("costed"), events.amount[costed])
    _fold_habits(cells, events, base)

    newest = day_of(folded["last"][:, _PURCHASE])
    advance(folded["days"], day_of(folded["first_purchase"]), last_day, newest)
    day = day_of(events.time)
    kept = np.flatnonzero(day > newest[events.row] - RING_DAYS)
    word, bit = np.divmod(day[kept] % RING_DAYS, 64)
    at = base[kept] + cell("days") + word
    np.bitwise_or.at(cells.view(np.uint64), at, np.left_shift(np.uint64(1), bit.astype(np.uint64)))


def _fold_sources(folded: States, events: EventColumns, before: Floats) -> None:
    """Set the source of the newest purchase; among equal times the greatest hash wins."""
    newest = folded["last"][:, _PURCHASE]
    moved = newest > before
    source = np.where(moved, np.uint64(0), folded["source"])
    last = np.flatnonzero(events.time == newest[events.row])
    np.maximum.at(source, events.row[last], events.source[last])
    folded["source"] = source


def _fold_habits(cells: Floats, events: EventColumns, base: Ints) -> None:
    """Count purchases by part of the week, by channel and by category."""
    counters = cells.view(np.uint32)
    slot = np.floor(events.time * (DAY_PARTS / DAY_S)).astype(np.int64) % WEEK_SLOTS
    np.add.at(counters, 2 * (base + cell("week")) + slot, np.uint32(1))
    named = np.flatnonzero(events.category)
    if len(named):
        bucket = (events.category[named] % CATEGORY_BUCKETS).astype(np.int64)
        np.add.at(counters, 2 * (base[named] + cell("categories")) + bucket, np.uint32(1))
    placed = np.flatnonzero(events.channel != Channel.UNKNOWN)
    if len(placed):
        channel = events.channel[placed].astype(np.int64) - 1
        np.add.at(cells, base[placed] + cell("channels") + channel, 1.0)


def _fold_scores(folded: States, name: str, events: EventColumns) -> None:
    """Keep the newest scores of each customer, by (time, key)."""
    order = np.lexsort((events.score, events.key, events.time, events.row))[::-1]
    row = events.row[order]
    rank = np.arange(len(row)) - np.searchsorted(-row, -row)
    touched, at = np.unique(row, return_inverse=True)
    new = empty(len(touched))
    for slot in range(new[f"{name}_time"].shape[1]):
        pick = rank == slot
        for part in ("time", "key", "score"):
            new[f"{name}_{part}"][at[pick], slot] = getattr(events, part)[order[pick]]
    old = folded[touched]
    _merge_scores(old, new, name)
    for part in ("time", "key", "score"):
        folded[f"{name}_{part}"][touched] = old[f"{name}_{part}"]


def _merge_scores(into: States, other: States, name: str) -> None:
    """Keep the newest scores of both states, newest first, by (time, key, score)."""
    parts = [f"{name}_{part}" for part in ("time", "key", "score")]
    time, key, score = (np.concatenate((into[part], other[part]), axis=1) for part in parts)
    kept = into[parts[0]].shape[1]
    order = np.lexsort((score, key, time), axis=1)[:, ::-1][:, :kept]
    for part, values in zip(parts, (time, key, score), strict=True):
        into[part] = np.take_along_axis(values, order, axis=1)
