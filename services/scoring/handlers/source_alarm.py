"""Raises an alarm while a source of purchases has stopped delivering.

Warnings of its customers' silence are held meanwhile (`core.monitoring.source_outage`). This module
only reports the outage, as a gauge and in the log.
"""

from collections import Counter
from collections.abc import Sequence

import structlog

from services.scoring import metrics
from services.scoring.core.monitoring.source_outage import stopped
from services.scoring.ports import NOW, sources_of
from shared.postgres.ledger import Move

log = structlog.get_logger(__name__)


class SourceAlarm:
    """Alarm of one worker; `source_outage.SOURCES_MAX` per partition bounds its labels."""

    def __init__(self, worker: str) -> None:
        self._worker = worker
        self._stopped: dict[int, list[str]] = {}
        self._raised: set[str] = set()

    def __call__(self, moves: Sequence[Move]) -> None:
        """Updates the alarm from the progress of a committed batch's partitions."""
        for move in moves:
            now = move.progress.get(NOW)
            gone = stopped(sources_of(move.progress), now) if isinstance(now, float) else []
            self._stopped[move.claim.partition] = gone
        count = Counter(source for gone in self._stopped.values() for source in gone)
        for source in sorted(self._raised | set(count)):
            metrics.SOURCES_STOPPED.labels(self._worker, source).set(count[source])
        for source in sorted(set(count) - self._raised):
            log.warning("source stopped: warnings of its customers are held", source=source)
        for source in sorted(self._raised - set(count)):
            log.info("source delivers again", source=source)
        self._raised = set(count)

    def forget(self) -> None:
        """Forgets all partitions after a claim: another worker may own some of them now."""
        self._stopped.clear()
