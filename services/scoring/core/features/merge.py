"""Merges the states of several ids of one customer, and takes out what was counted twice.

Law, up to float rounding: `merge(fold(e, a), fold(e, b)) == fold(e, a + b)` with `e` the empty
state; so merging is commutative and associative, and the empty state changes nothing. Never reads
a clock, and never changes its inputs.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.scoring.core.features.bitmap import advance, day_of
from services.scoring.core.features.events import Kind
from services.scoring.core.features.fold import States
from services.scoring.core.features.interaction_kinds import interacted_at, kinds_faded_to
from services.scoring.core.features.loyalty import faded_to, merge_loyalty, moved_at
from services.scoring.core.features.memory import decay_per_s, faded
from services.scoring.core.features.state import HALF_LIVES_DAYS
from shared.kernel.arrays import Floats, Ints

_SUMS: Final = (
    "counts", "priced", "spent", "refunded", "log_amount", "log_amount_squared", "channels",
    "cost", "costed", "week", "categories", "points",
    "kinds_counted",
)  # fmt: skip
_NEWEST: Final = ("ref", "last", "contract_until")
_SCORES: Final = ("survey", "recommendation")
_PER_S: Final = decay_per_s(HALF_LIVES_DAYS)
_PURCHASE: Final = Kind.PURCHASE - 1


def merge(a: States, b: States) -> States:
    """Returns the states of rows that have both histories; `a` and `b` have one length."""
    into = a.copy()
    for field in _SUMS:
        into[field] += b[field]
    for field in _NEWEST:
        np.maximum(a[field], b[field], out=into[field])
    np.minimum(a["first_purchase"], b["first_purchase"], out=into["first_purchase"])
    np.minimum(a["kinds_since"], b["kinds_since"], out=into["kinds_since"])
    into["decayed"] = _decayed(a, into["ref"]) + _decayed(b, into["ref"])
    newest_interaction = interacted_at(into)
    into["kinds_decayed"] = kinds_faded_to(a, newest_interaction)
    into["kinds_decayed"] += kinds_faded_to(b, newest_interaction)
    merge_loyalty(into, a, b)
    last_a, last_b = a["last"][:, _PURCHASE], b["last"][:, _PURCHASE]
    both = np.maximum(a["source"], b["source"])
    into["source"] = np.where(
        last_a > last_b, a["source"], np.where(last_b > last_a, b["source"], both)
    )
    newest = day_of(into["last"][:, _PURCHASE])
    into["days"] = _ring(a, newest) | _ring(b, newest)
    for name in _SCORES:
        _merge_scores(into, a, b, name)
    return into


def without(states: States, twice: States) -> States:
    """Returns the states with `twice` counted once.

    `twice` holds events that both sides of the merge have counted. Maxima, days and scores do not
    change with repetition, so only the sums are corrected.
    """
    left = states.copy()
    for field in _SUMS:
        left[field] -= twice[field]
    left["decayed"] -= _decayed(twice, states["ref"])
    left["points_decayed"] -= faded_to(twice, moved_at(states))
    left["kinds_decayed"] -= kinds_faded_to(twice, interacted_at(states))
    return left


def _decayed(states: States, ref: Floats) -> Floats:
    """Returns the decayed sums as of the later time `ref`; zeros where there was no event."""
    return faded(states["decayed"], states["ref"], ref, _PER_S)


def _ring(states: States, newest: Ints) -> NDArray[np.uint64]:
    words: NDArray[np.uint64] = states["days"].copy()
    last = day_of(states["last"][:, _PURCHASE])
    advance(words, day_of(states["first_purchase"]), last, newest)
    return words


def _merge_scores(into: States, a: States, b: States, name: str) -> None:
    """Keeps the newest scores of both sides by (time, key, score), each event once."""
    parts = [f"{name}_{part}" for part in ("time", "key", "score")]
    time, key, score = (np.concatenate((a[part], b[part]), axis=1) for part in parts)
    kept = into[parts[0]].shape[1]
    order = np.lexsort((score, key, time), axis=1)[:, ::-1]
    time, key, score = (np.take_along_axis(values, order, axis=1) for values in (time, key, score))
    again = np.isfinite(time[:, 1:])
    for values in (time, key, score):
        again = again & (values[:, 1:] == values[:, :-1])
    again = np.concatenate((np.zeros((len(again), 1), np.bool_), again), axis=1)
    first = np.argsort(again, axis=1, kind="stable")[:, :kept]
    blanked = (np.where(again, nothing, values) for nothing, values in
               ((-np.inf, time), (np.uint64(0), key), (np.nan, score)))  # fmt: skip
    for part, values in zip(parts, blanked, strict=True):
        into[part] = np.take_along_axis(values, first, axis=1)
