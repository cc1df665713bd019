"""Where a partition ends for its readers: behind its last record there may be what nobody is given.

A transaction leaves a marker in the log, and an aborted one its records too; retention can leave
nothing at all. The log's end then lies behind the last record for good, and whoever compares the
offset after that record with it would wait for something that never comes.
"""

from shared.postgres.ledger import TopicPartition as Tp


class PartitionEnds:
    """Keeps of each partition the offset after the last record read, and the client's position.

    Between the two lies nothing to read: the client has passed it and handed nothing out.
    """

    def __init__(self) -> None:
        self._read: dict[Tp, tuple[int, int]] = {}

    def note(self, tp: Tp, after: int | None, position: int) -> None:
        """Keep how far a partition was read; `after` None: no record of it ever was."""
        self._read[tp] = (after or 0, position)

    def forget(self, tp: Tp) -> None:
        """Drop what was kept: the partition is another worker's, or is read anew."""
        self._read.pop(tp, None)

    def end(self, tp: Tp, log_end: int) -> int:
        """The offset after the last record that can be read; the log's end while more may come.

        >>> tails = PartitionEnds()
        >>> tails.note(("t", 0), 7, 9)
        >>> tails.end(("t", 0), 9), tails.end(("t", 0), 10)
        (7, 10)
        """
        after, position = self._read.get(tp, (log_end, 0))
        return min(after, log_end) if position >= log_end else log_end

    def reached(self, tp: Tp, next_offset: int | None) -> int | None:
        """How far the log is done with once everything before `next_offset` is.

        >>> tails = PartitionEnds()
        >>> tails.note(("t", 0), 7, 9)
        >>> tails.reached(("t", 0), 7), tails.reached(("t", 0), 5)
        (9, 5)
        """
        after, position = self._read.get(tp, (0, 0))
        if (next_offset or 0) == after and position > after:
            return position
        return next_offset
