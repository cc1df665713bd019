"""The columns that a segment's rule reads: numbers, words and lists of words, one row a customer.

Words are stored as codes into their distinct values, so that a rule tests each distinct word once
and not each customer. This module never parses a rule.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from shared.kernel.arrays import Flags, Floats, Ints


@dataclass(frozen=True, slots=True)
class Words:
    """One word per customer, empty where there is none."""

    distinct: tuple[str, ...]
    code: Ints
    """Shape [n]: index into `distinct`."""

    @classmethod
    def of(cls, words: Sequence[str | None]) -> "Words":
        """Build it from one value per customer."""
        index: dict[str, int] = {}
        code = [index.setdefault(word or "", len(index)) for word in words]
        return cls(tuple(index), np.array(code, np.int64))

    def where(self, holds: Callable[[str], bool]) -> Flags:
        """bool[n]: the customer's word has the property."""
        return np.fromiter(map(holds, self.distinct), np.bool_, len(self.distinct))[self.code]

    def measure(self, size: Callable[[str], float]) -> Floats:
        """float64[n]: a number computed from each customer's word."""
        return np.fromiter(map(size, self.distinct), np.float64, len(self.distinct))[self.code]


@dataclass(frozen=True, slots=True)
class WordLists:
    """Several words per customer."""

    holds: Mapping[str, Flags]
    """By word, bool[n]: the customer's list contains it."""
    size: Floats
    """float64[n]: words in the list."""

    @classmethod
    def of(cls, lists: Sequence[Sequence[str]]) -> "WordLists":
        """Build them from one list per customer."""
        size = np.fromiter(map(len, lists), np.float64, len(lists))
        holds: dict[str, Flags] = {}
        for row, words in enumerate(lists):
            for word in words:
                if word not in holds:
                    holds[word] = np.zeros(len(lists), np.bool_)
                holds[word][row] = True
        return cls(holds, size)


@dataclass(slots=True)
class Frame:
    """A batch of customers; `maps` holds the free attributes of each (a missing key is an error,
    as in CEL)."""

    count: int
    numbers: Mapping[str, Floats]
    words: Mapping[str, Words] = field(default_factory=dict)
    lists: Mapping[str, WordLists] = field(default_factory=dict)
    maps: Mapping[str, Sequence[Mapping[str, str]]] = field(default_factory=dict)
    _entries: dict[tuple[str, str], tuple[Words, Flags]] = field(default_factory=dict)

    def entry(self, name: str, key: str) -> tuple[Words, Flags]:
        """Return the words under `key` of a map, and bool[n]: the customer lacks the key."""
        if (name, key) not in self._entries:
            found = [row.get(key) for row in self.maps[name]]
            missing = np.fromiter((word is None for word in found), np.bool_, self.count)
            self._entries[name, key] = Words.of(found), missing
        return self._entries[name, key]
