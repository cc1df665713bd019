"""Finds where a partition ends for its readers: its last entries may not be readable records.

A transaction leaves a marker in the log, and an aborted one its records too; retention can leave
nothing at all. The log's end then lies behind the last record for good, and a reader that compares
the offset after that record with it would wait for something that never comes.
"""

from shared.postgres.ledger import TopicPartition as Tp


class PartitionEnds:
    """Keeps for each partition the offset after the last record read, and the client's position.

    Between the two there is nothing to read: the client has passed it and returned nothing.
    """

    def __init__(self) -> None:
        self._read: dict[Tp, tuple[int, int]] = {}

    def note(self, tp: Tp, after: int | None, position: int) -> None:
        """Keep how far a partition was read; `after` None: no record of it was read."""
        self._read[tp] = (after or 0, position)

    def forget(self, tp: Tp) -> None:
        """Drop what was kept: another worker owns the partition, or it is read anew."""
        self._read.pop(tp, None)

    def end(self, tp: Tp, log_end: int) -> int:
        """Return the offset after the last readable record, or the log's end while more may come.

        >>> tails = PartitionEnds()
        >>> tails.note(("t", 0), 7, 9)
        >>> tails.end(("t", 0), 9), tails.end(("t", 0), 10)
        (7, 10)
        """
        after, position = self._read.get(tp, (log_end, 0))
        return min(after, log_end) if position >= log_end else log_end

    def reached(self, tp: Tp, next_offset: int | None) -> int | None:
        """Return how far the log is finished once everything before `next_offset` is.

        >>> tails = PartitionEnds()
        >>> tails.note(("t", 0), 7, 9)
        >>> tails.reached(("t", 0), 7), tails.reached(("t", 0), 5)
        (9, 5)
        """
        after, position = self._read.get(tp, (0, 0))
        if (next_offset or 0) == after and position > after:
            return position
        return next_offset
