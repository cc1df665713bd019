"""Counts the customers that are due to be assessed without an event."""

from datetime import datetime

from shared.postgres.statements import Statements, fetch

COUNTED_MAX = 100_000
"""Due customers of a partition that are counted: an index is read for as many entries."""

_DUE = """
SELECT coalesce(sum(d.n), 0)::bigint AS customers, min(d.oldest) AS oldest
  FROM (SELECT DISTINCT partition FROM scoring.partition) p,
       LATERAL (SELECT count(*) AS n, min(due_at) AS oldest
                  FROM (SELECT due_at FROM scoring.timer t
                         WHERE t.partition = p.partition AND t.due_at <= $1
                         ORDER BY due_at LIMIT $2) first) d
"""


class Timers(Statements):
    """Statements on `scoring.timer` that no batch needs."""

    async def due(self, now: datetime) -> tuple[int, datetime | None]:
        """Returns how many customers are due at `now` (UTC), and the time of the first of them.

        Raises Transient. Of each partition at most `COUNTED_MAX` are counted.
        """
        (row,) = await fetch(self._engine, _DUE, now, COUNTED_MAX)
        return row["customers"], row["oldest"]
