"""What is remembered of a customer: one packed record of fixed size.

What it is for: the layout of the state, its empty element and its bytes. The state is a
commutative monoid under `fold.merge` with `empty` as the identity. It never holds
anything that depends on the order of arrival.

Every field is a multiple of eight bytes, so that a contiguous array of states is also a
matrix of float64 cells, and the fold can add into any field with one flat index.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.scoring.core.events import Kind

FEATURE_SET: Final = 1
"""Guards stored states and models: raise it whenever `STATE` or a feature's meaning changes."""

HALF_LIVES_DAYS: Final = (7, 30, 90, 365)
"""A week, a month, a season, a year: the columns of each row of `decayed`."""

MEASURES: Final = ("purchases", "amount", "priced", "interactions")
"""The rows of `decayed`. `priced` counts purchases that carry an amount, so that a mean
order value is not diluted by a source without amounts."""

RING_DAYS: Final = 2_560
"""Purchase days remembered (7 years); 40 whole words of 64 bits."""
RING_WORDS: Final = RING_DAYS // 64

SURVEYS_KEPT: Final = 2
"""The last survey and the one before it: enough for a score and its change."""

STATE: Final[np.dtype[np.void]] = np.dtype(
    [
        ("ref", "<f8"),  # newest event, Unix seconds UTC: where `decayed` stands; -inf = none
        ("decayed", "<f8", (len(MEASURES), len(HALF_LIVES_DAYS))),
        ("counts", "<f8", (len(Kind),)),  # by Kind - 1; exact integers up to 2^53
        ("priced", "<f8"),  # purchases with an amount
        ("spent", "<f8"),  # reporting currency, purchases
        ("refunded", "<f8"),  # reporting currency, refunds, positive
        ("first_purchase", "<f8"),  # Unix seconds UTC; +inf = none
        ("last", "<f8", (len(Kind),)),  # newest time by Kind - 1; -inf = none
        ("survey_time", "<f8", (SURVEYS_KEPT,)),  # scored surveys, newest first; -inf = none
        ("survey_key", "<u8", (SURVEYS_KEPT,)),
        ("survey_score", "<f8", (SURVEYS_KEPT,)),  # NaN = none
        ("recommendation_time", "<f8", (1,)),  # the newest scored recommendation
        ("recommendation_key", "<u8", (1,)),
        ("recommendation_score", "<f8", (1,)),
        ("days", "<u8", (RING_WORDS,)),  # purchase days: bit (UTC day mod RING_DAYS)
    ]
)
CELLS: Final = STATE.itemsize // 8
_OFFSETS: Final = {name: int(at[1]) for name, at in (STATE.fields or {}).items()}


def cell(field: str) -> int:
    """Index of a field's first eight-byte cell within one state."""
    return _OFFSETS[field] // 8


def empty(n: int) -> NDArray[np.void]:
    """`n` states of customers of whom nothing is known: the identity of `merge`."""
    states = np.zeros(n, STATE)
    for field in ("ref", "last", "survey_time", "recommendation_time"):
        states[field] = -np.inf
    states["first_purchase"] = np.inf
    for field in ("survey_score", "recommendation_score"):
        states[field] = np.nan
    return states


def from_bytes(rows: Sequence[bytes]) -> NDArray[np.void]:
    """States from their stored bytes, one row each; writable.

    Raises ValueError naming the expected and the actual size when a row is not one state,
    which means that it was written under another `FEATURE_SET`.
    """
    for size in {len(row) for row in rows} - {STATE.itemsize}:
        raise ValueError(
            f"a state has {STATE.itemsize} bytes (feature set {FEATURE_SET}), not {size}"
        )
    return np.frombuffer(bytearray().join(rows), STATE)


def to_bytes(states: NDArray[np.void]) -> list[bytes]:
    """The stored form of each state, `STATE.itemsize` bytes."""
    packed = np.ascontiguousarray(states).tobytes()
    size = STATE.itemsize
    return [packed[at : at + size] for at in range(0, len(packed), size)]
