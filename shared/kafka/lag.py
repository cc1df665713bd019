"""Computes how far a service is behind, from what a loop of its own read; time is an argument.

Ages grow between two readings, so that a stall shows at the next scrape, also while neither Kafka
nor PostgreSQL answers.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from shared.postgres.ledger import TopicPartition as Tp

HEAD_S = 5.0
"""Seconds until the first waiting record of a partition that moves on is read again: reading it
fetches its whole batch, and the age is too high by at most this."""


@dataclass(frozen=True, slots=True)
class Position:
    """How far a partition is handled. `mark` changes with every commit, also of an equal offset."""

    next_offset: int | None
    """None: nothing of it was handled yet."""
    mark: object = None


@dataclass(frozen=True, slots=True)
class Bounds:
    """The offsets between which a partition's log can be read."""

    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class Instant:
    """One instant on both clocks, in seconds."""

    unix_s: float
    monotonic_s: float


@dataclass(slots=True)
class _Partition:
    """What is known of one partition."""

    position: Position
    offset: int
    end: int
    since_s: float
    """Monotonic time since which records wait without a commit."""
    oldest_unix_s: float
    """When the first waiting record arrived."""
    head: int | None = None
    """Offset from which that record was searched; None: it was not."""
    head_s: float = 0.0
    """Monotonic time of that search."""
    nothing_to: int = 0
    """No record can be read between the offset and here, only markers of transactions."""
    head_due: bool = False

    @property
    def records(self) -> int:
        return 0 if self.end <= self.nothing_to else max(0, self.end - self.offset)


class Lag:
    """The lag of every partition that a service reads, whichever process owns it."""

    def __init__(self) -> None:
        self._partitions: dict[Tp, _Partition] = {}
        self._read: Instant | None = None

    def note(
        self, at: Instant, positions: Mapping[Tp, Position], bounds: Mapping[Tp, Bounds]
    ) -> dict[Tp, int]:
        """Keep one reading; returns the offsets of the records to search for `heads`.

        `positions` were read before `bounds`: a record that came in between counts as waiting.
        """
        known, self._partitions = self._partitions, {}
        for tp, found in bounds.items():
            position = positions.get(tp, Position(None))
            self._partitions[tp] = _noted(at, self._read, known.get(tp), position, found)
        self._read = at
        return {tp: one.offset for tp, one in self._partitions.items() if one.head_due}

    def heads(self, at: Instant, found: Mapping[Tp, float | None]) -> None:
        """Keep when the first waiting record of partitions arrived, Unix seconds.

        None: there is none, only markers of transactions. Where a search found nothing in time, the
        age counts from the first reading in which a record waited.
        """
        for tp, arrived in found.items():
            if (one := self._partitions.get(tp)) is None:
                continue
            one.head, one.head_s = one.offset, at.monotonic_s
            if arrived is None:
                one.nothing_to = one.end
            elif arrived > 0:  # else its sender dated it before 1970, or we cannot read it
                one.oldest_unix_s = arrived

    def records(self) -> dict[Tp, int]:
        """Return the records not yet handled, by partition."""
        return {tp: one.records for tp, one in self._partitions.items()}

    def seconds(self, unix_s: float) -> dict[Tp, float]:
        """Return the age of the oldest record not yet handled, by partition; 0 where none waits."""
        return {
            tp: max(0.0, unix_s - one.oldest_unix_s) if one.records else 0.0
            for tp, one in self._partitions.items()
        }

    def uncommitted(self, monotonic_s: float) -> dict[Tp, float]:
        """Return for how long records wait without any commit, by partition; 0: none waits."""
        return {
            tp: max(0.0, monotonic_s - one.since_s) if one.records else 0.0
            for tp, one in self._partitions.items()
        }

    def age(self, monotonic_s: float) -> float | None:
        """Return the seconds since the last reading; None before the first."""
        return None if self._read is None else max(0.0, monotonic_s - self._read.monotonic_s)


def by_topic(ages: Mapping[Tp, float], topics: Collection[str] = ()) -> dict[str, float]:
    """Returns the longest age of each topic's partitions; 0 for `topics` without one.

    >>> by_topic({("t", 0): 3.0, ("t", 1): 5.0}, ("u",))
    {'u': 0.0, 't': 5.0}
    """
    longest = dict.fromkeys(topics, 0.0)
    for (topic, _), age in ages.items():
        longest[topic] = max(age, longest.get(topic, 0.0))
    return longest


def _noted(
    at: Instant, before: Instant | None, known: _Partition | None, position: Position, found: Bounds
) -> _Partition:
    """Returns a partition after one more reading."""
    offset = max(found.begin, position.next_offset or 0)
    waits = found.end > offset
    one = _Partition(position, offset, found.end, at.monotonic_s, at.unix_s, head_due=waits)
    if known is None or before is None:
        return one
    if known.records and known.position == position:
        one.since_s = known.since_s
    if offset >= known.end:
        # Nothing that waits now was there at the reading before: it came since.
        one.oldest_unix_s, one.head_due = before.unix_s, False
        return one
    one.oldest_unix_s, one.head, one.head_s = known.oldest_unix_s, known.head, known.head_s
    if one.head == offset:
        one.nothing_to = known.nothing_to
        one.head_due = waits and bool(one.nothing_to) and found.end > one.nothing_to
    elif one.head is not None:
        one.head_due = waits and at.monotonic_s - one.head_s >= HEAD_S
    return one
