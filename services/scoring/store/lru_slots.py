"""Assigns customers to rows (slots) of bounded columns, and chooses which customers to evict.

With it the cache (`customer_cache`) is a few large arrays instead of an object per customer. The
cached values themselves are not stored here.
"""

from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np

from shared.kernel.arrays import Ints

FIRST_SLOTS: Final = 1_024
"""Initial number of slots; it doubles up to the bound."""
EVICTED_AT_ONCE: Final = 8
"""An eighth of all names is evicted when room is needed, so that finding the oldest is rare."""


class LruSlots:
    """Map of at most `names_max` names to slots; evicts the least recently touched first."""

    def __init__(self, names_max: int) -> None:
        self._names_max = names_max
        self._slot: dict[str, int] = {}
        self._free: list[int] = []
        self._made = 0
        self._touched = np.zeros(0, np.int64)
        self._clock = 0

    def __len__(self) -> int:
        """Number of names with a slot."""
        return len(self._slot)

    @property
    def room(self) -> int:
        """Exclusive upper bound of all slots."""
        return len(self._touched)

    def of(self, names: Sequence[str]) -> Ints:
        """Returns int64[n]: the slot of each name; -1 without one."""
        find = self._slot.get
        return np.array([find(name, -1) for name in names], np.int64)

    def clear(self) -> None:
        """Frees all slots."""
        self._slot.clear()
        self._free, self._made = [], 0

    def drop(self, names: Iterable[str]) -> None:
        """Frees the slots of these names."""
        for name in names:
            slot = self._slot.pop(name, None)
            if slot is not None:
                self._free.append(slot)

    def touch(self, names: Sequence[str], slots: Ints) -> tuple[Ints, Ints]:
        """Assigns a slot to each name, but only to the last `names_max`.

        Names are distinct, the most recently touched last; `slots` are their present slots (`of`).
        Returns int64[n], the slots (-1: none), and the places of names that got a new slot.
        """
        surplus = max(0, len(names) - self._names_max)
        self.drop(names[:surplus])
        slots = slots.copy()
        slots[:surplus] = -1
        new = np.flatnonzero(slots < 0)[surplus:]
        self._touched[slots[slots >= 0]] = self._clock + np.flatnonzero(slots >= 0)
        self._evict(len(new), spared=len(names) - surplus - len(new))
        slots[new] = self._take(len(new))
        self._touched[slots[new]] = self._clock + new
        self._clock += len(names)
        self._slot.update(zip([names[at] for at in new.tolist()], slots[new].tolist(), strict=True))
        return slots, new

    def _evict(self, count: int, spared: int) -> None:
        """Evicts names until `count` slots are free; the `spared` latest names stay."""
        surplus = len(self._slot) + count - self._names_max
        if surplus <= 0:
            return
        leave = min(max(surplus, self._names_max // EVICTED_AT_ONCE), len(self._slot) - spared)
        names, slots = list(self._slot), np.array(list(self._slot.values()), np.int64)
        oldest = np.argpartition(self._touched[slots], leave - 1)[:leave]
        self.drop(names[at] for at in oldest.tolist())

    def _take(self, count: int) -> Ints:
        """Returns `count` free slots."""
        again = min(count, len(self._free))
        taken = self._free[len(self._free) - again :]
        del self._free[len(self._free) - again :]
        made = range(self._made, self._made + count - again)
        self._made = made.stop
        if self._made > self.room:
            room = min(max(2 * self.room, self._made, FIRST_SLOTS), self._names_max)
            self._touched = np.concatenate((self._touched, np.zeros(room - self.room, np.int64)))
        return np.array([*taken, *made], np.int64)
