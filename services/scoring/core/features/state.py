"""The customer state: one packed record of fixed size per customer.

This module defines the layout of the state, its empty element and its bytes. It never holds
anything that depends on the order of arrival.

Every field is a multiple of eight bytes, so that a contiguous array of states is also a
matrix of float64 cells, and the fold can add into any field with one flat index.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.scoring.core.features.events import Channel, Kind
from shared.kernel.arrays import Ints

FEATURE_SET: Final = 5
"""Guards stored states and models: raise it when `STATE` or the meaning of a feature changes."""

HALF_LIVES_DAYS: Final = (7, 30, 90, 365)
"""A week, a month, a season, a year: the columns of each row of `decayed`."""

MEASURES: Final = ("purchases", "amount", "priced", "interactions")
"""The rows of `decayed`. `priced` counts purchases that carry an amount, so that a mean
order value is not diluted by a source without amounts."""

POINTS_LIVES_DAYS: Final = (90, 365)
"""The columns of each row of `points_decayed`: a season and a year, since points move slowly."""

INTERACTION_CLASSES: Final = 8
"""Classes of interactions (`interaction_kinds`): five usual ones, three for all other words. Each
costs 16 bytes of a state and two features."""
INTERACTION_LIVES_DAYS: Final = (30, 90)
"""The columns of each row of `kinds_decayed`: this month against this season."""

RING_DAYS: Final = 2_560
"""Purchase days remembered (7 years); 40 whole words of 64 bits."""
RING_WORDS: Final = RING_DAYS // 64

SURVEYS_KEPT: Final = 2
"""The last survey and the one before it: enough for a score and its change."""

DAY_PARTS: Final = 4
"""Parts of a day in the time-of-week grid: nights, mornings, afternoons, evenings (UTC)."""
WEEK_SLOTS: Final = 7 * DAY_PARTS

AMOUNT_MIN: Final = 0.01
"""Reporting currency; a smaller amount, or 0, is taken as this in logarithms."""

CATEGORY_BUCKETS: Final = 16
"""Counters of the category sketch, chosen by hash. Customers buy in few categories, so that
two rarely share a bucket, and the favourite hardly ever does."""

STATE: Final[np.dtype[np.void]] = np.dtype(
    [
        ("ref", "<f8"),  # newest event, Unix seconds UTC: the time of `decayed`; -inf = none
        ("decayed", "<f8", (len(MEASURES), len(HALF_LIVES_DAYS))),
        ("counts", "<f8", (len(Kind),)),  # by Kind - 1; exact integers up to 2^53
        ("priced", "<f8"),  # purchases with an amount
        ("spent", "<f8"),  # reporting currency, purchases
        ("refunded", "<f8"),  # reporting currency, refunds, positive
        ("log_amount", "<f8"),  # sum of ln(amount) over purchases with an amount
        ("log_amount_squared", "<f8"),  # sum of ln(amount)^2 over the same
        ("first_purchase", "<f8"),  # Unix seconds UTC; +inf = none
        ("last", "<f8", (len(Kind),)),  # newest time by Kind - 1; -inf = none
        ("survey_time", "<f8", (SURVEYS_KEPT,)),  # scored surveys, newest first; -inf = none
        ("survey_key", "<u8", (SURVEYS_KEPT,)),
        ("survey_score", "<f8", (SURVEYS_KEPT,)),  # NaN = none
        ("recommendation_time", "<f8", (SURVEYS_KEPT,)),  # scored recommendations, newest first
        ("recommendation_key", "<u8", (SURVEYS_KEPT,)),
        ("recommendation_score", "<f8", (SURVEYS_KEPT,)),
        ("source", "<u8"),  # hash of the source of the newest purchase; 0 = unknown
        ("contract_until", "<f8"),  # latest known end of a contract, Unix seconds UTC; -inf = none
        ("points", "<f8", (3,)),  # loyalty points ever earned, spent, expired
        ("points_decayed", "<f8", (2, len(POINTS_LIVES_DAYS))),  # earned, spent; as of the newest
        ("balance_time", "<f8"),  # newest report of the points in the account; -inf = none
        ("balance", "<f8"),
        ("expiring_time", "<f8"),  # newest report of points that will expire; -inf = none
        ("expiring_until", "<f8"),  # Unix seconds UTC
        ("expiring", "<f8"),  # points
        ("channels", "<f8", (len(Channel) - 1,)),  # purchases by Channel - 1
        ("cost", "<f8"),  # reporting currency, purchases with amount and cost
        ("costed", "<f8"),  # the amounts of those
        ("week", "<u4", (WEEK_SLOTS,)),  # purchases by UTC weekday (0: Thursday) and part of day
        ("categories", "<u4", (CATEGORY_BUCKETS,)),  # purchases by category hash mod buckets
        ("days", "<u8", (RING_WORDS,)),  # purchase days: bit (UTC day mod RING_DAYS)
        # Last, so that a state stored without them is read as one that has none (decision 40).
        ("kinds_decayed", "<f8", (INTERACTION_CLASSES, len(INTERACTION_LIVES_DAYS))),
        ("kinds_counted", "<f8"),  # interactions in `kinds_decayed`
        ("kinds_since", "<f8"),  # the oldest of them, Unix seconds UTC; +inf = none
    ]
)
CELLS: Final = STATE.itemsize // 8
MASK_BYTES: Final = 24
"""Mask of a stored state: one bit for each of up to 192 cells (decision 28)."""
_OFFSETS: Final = {name: int(at[1]) for name, at in (STATE.fields or {}).items()}


def cell(field: str) -> int:
    """Return the index of a field's first eight-byte cell within one state."""
    return _OFFSETS[field] // 8


def empty(n: int) -> NDArray[np.void]:
    """Return `n` states without any event."""
    states = np.zeros(n, STATE)
    for field in ("ref", "last", "survey_time", "recommendation_time", "contract_until",
                  "balance_time", "expiring_time"):  # fmt: skip
        states[field] = -np.inf
    states["first_purchase"] = states["kinds_since"] = np.inf
    for field in ("survey_score", "recommendation_score"):
        states[field] = np.nan
    return states


def take(states: NDArray[np.void], rows: Ints) -> NDArray[np.void]:
    """Return the states of these rows in this order; copied as words, ten times as fast."""
    cells = np.ascontiguousarray(states).view(np.uint64).reshape(-1, CELLS)
    return cells[rows].view(STATE)[:, 0]


def from_bytes(rows: Sequence[bytes]) -> NDArray[np.void]:
    """Return writable states from their stored bytes, one row each.

    Raises ValueError when a row is not exactly one state, which means that it was written under
    another `FEATURE_SET`.
    """
    if not len(rows):
        return empty(0)
    size = np.fromiter(map(len, rows), np.int64, len(rows))
    if size.min() < MASK_BYTES:
        raise ValueError(f"a state has at least {MASK_BYTES} bytes, not {size.min()}")
    if wrong := size[size % 8 > 0].tolist():
        raise ValueError(f"a state is of whole cells of 8 bytes, not of {wrong[0]} bytes")
    packed = np.frombuffer(b"".join(rows), np.uint64)
    at = ((np.cumsum(size) - size) // 8)[:, None] + np.arange(MASK_BYTES // 8)
    nonzero = np.unpackbits(packed[at].view(np.uint8), axis=1, count=CELLS, bitorder="little").view(
        np.bool_
    )
    expected = MASK_BYTES + 8 * nonzero.sum(axis=1)
    for row in np.flatnonzero(expected != size).tolist():
        raise ValueError(
            f"this state's cells take {expected[row]} bytes (feature set {FEATURE_SET}), not "
            f"{size[row]}"
        )
    value = np.ones(len(packed), np.bool_)
    value[at] = False
    cells = np.zeros((len(rows), CELLS), np.uint64)
    cells[nonzero] = packed[value]
    return (cells ^ _EMPTY).view(STATE)[:, 0]


def to_bytes(states: NDArray[np.void]) -> list[bytes]:
    """Return the stored form of each state: a mask of cells that differ from `empty`, then these.

    Most customers bought on few days in few ways, so that a third of the cells differ; the
    others need not be written, logged, cached or read.
    """
    cells = np.ascontiguousarray(states).view(np.uint64).reshape(-1, CELLS) ^ _EMPTY
    nonzero = cells != 0
    mask = np.zeros((len(cells), MASK_BYTES), np.uint8)
    bits = np.packbits(nonzero, axis=1, bitorder="little")
    mask[:, : bits.shape[1]] = bits
    masks, values = mask.tobytes(), cells[nonzero].tobytes()
    packed, start = [], 0
    for n, end in enumerate((8 * np.cumsum(nonzero.sum(axis=1))).tolist()):
        packed.append(masks[n * MASK_BYTES : (n + 1) * MASK_BYTES] + values[start:end])
        start = end
    return packed


_EMPTY: Final = empty(1).view(np.uint64)
