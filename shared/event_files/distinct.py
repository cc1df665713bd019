"""Counts distinct texts of a column that comes in parts, in 8 bytes each."""

from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

SEED: Final = 17
"""Seed of the hashes; any number would do."""
WAITING_MIN: Final = 1_000_000
"""Hashes that wait before they are merged: 8 MB."""


class Distinct:
    """A set of hashes; two of ten million texts share one with a chance of 1 in 400,000.

    >>> some = Distinct()
    >>> some.add(pl.Series(["a", "b", "a"]))
    >>> some.add(pl.Series(["b", "c"]))
    >>> len(some)
    3
    """

    def __init__(self) -> None:
        self._known: NDArray[np.uint64] = np.empty(0, np.uint64)
        self._waiting: list[NDArray[np.uint64]] = []
        self._count = 0

    def add(self, values: pl.Series) -> None:
        """Add the values of a part."""
        found = values.unique().hash(SEED).to_numpy()
        self._waiting.append(found)
        self._count += len(found)
        if self._count > max(WAITING_MIN, len(self._known)):
            self._merge()

    def __len__(self) -> int:
        """Return how many different values were added."""
        self._merge()
        return len(self._known)

    def _merge(self) -> None:
        self._known = np.unique(np.concatenate([self._known, *self._waiting]))
        self._waiting, self._count = [], 0
