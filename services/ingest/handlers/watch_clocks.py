"""Use case: observes the sources' clocks, stores the counts and names a source with a wrong clock.

The log names a source when its clock begins to seem wrong and when it no longer does, at most once
in `NAMED_S` each; a note of `/readyz` lists those that seem wrong.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

import structlog

from services.ingest.core.dead_letters import producer_of
from services.ingest.core.source_clocks import OTHER, SourceClocks, SourceReport
from services.ingest.core.times import is_future
from services.ingest.handlers.accept_batch import DecidedBatch
from services.ingest.ports import ClockStore
from shared.contracts.dead_letter import Headers
from shared.kernel.errors import Invalid, Transient
from shared.runtime.clock import Clock
from shared.runtime.loop import repeat
from shared.runtime.service import Stop

REPORT_S: Final = 15.0
"""Between two reports, in seconds: as often as metrics are scraped."""
NAMED_S: Final = 600.0
"""Least time between two log lines about one source: its verdict may change back and forth."""
NOTED_MAX: Final = 10
"""Sources that the note names; the others are counted."""
KEPT_MAX: Final = 1_000
"""Reports that wait for PostgreSQL; then the oldest are only in the metrics."""

log = structlog.get_logger(__name__)


class ClockWatch:
    """One per process; `observe` is called with each report, for the metrics."""

    def __init__(
        self, store: ClockStore, clock: Clock, observe: Callable[[SourceReport], None]
    ) -> None:
        self._store = store
        self._clock = clock
        self._observe = observe
        self._clocks = SourceClocks()
        self._wrong: dict[str, str] = {}
        self._named_s: dict[str, float] = {}
        self._waiting: list[tuple[datetime, SourceReport]] = []

    def batch(self, decided: DecidedBatch) -> None:
        """Add what was decided on a batch of raw records."""
        for timing in decided.timings:
            self._clocks.accepted(timing)
        for source in decided.future:
            self._clocks.refused(source)

    def refused(self, value: bytes, fault: Invalid, headers: Headers) -> None:
        """Add what was refused over HTTP, if its time was too far after its arrival."""
        if is_future(fault):
            self._clocks.refused(producer_of(value, headers) or OTHER)

    async def note(self) -> str | None:
        """Return the sources with clocks that seem wrong; None: there is none."""
        named = [f"{source!r}: {fault}" for source, fault in sorted(self._wrong.items())]
        more = len(named) - NOTED_MAX
        shown = [*named[:NOTED_MAX], f"and {more} more"] if more > 0 else named
        return "; ".join(shown) or None

    async def once(self) -> None:
        """Report what was observed since the last call; raises Transient, and stores it later."""
        now = self._clock.now()
        for report in self._clocks.take():
            self._observe(report)
            self._judge(report)
            self._waiting.append((now, report))
        del self._waiting[:-KEPT_MAX]
        while self._waiting:
            day = self._waiting[0][0].astimezone(UTC).date()
            same = [pair for pair in self._waiting if pair[0].astimezone(UTC).date() == day]
            await self._store.add(_summed([report for _, report in same]), same[-1][0])
            self._waiting = self._waiting[len(same) :]

    async def watch(self, stop: Stop) -> None:
        """Report repeatedly until stopped, and once more after it."""
        await repeat(self.once, stop, "source clocks", REPORT_S, retry_s=REPORT_S)
        try:
            await self.once()
        except Transient as trouble:
            log.warning("counts of sources not stored", trouble=str(trouble))

    def _judge(self, report: SourceReport) -> None:
        before, fault = self._wrong.pop(report.source, None), report.fault
        if fault is not None:
            self._wrong[report.source] = fault
        if (before is None) == (fault is None):
            return
        now_s = self._clock.monotonic()
        last_s = self._named_s.get(report.source)
        if last_s is not None and now_s - last_s < NAMED_S:
            return
        self._named_s[report.source] = now_s
        if fault is None:
            log.info("clock of a source seems right again", source=report.source)
        else:
            log.warning("clock of a source seems wrong", source=report.source, fault=fault)


def _summed(reports: Sequence[SourceReport]) -> list[SourceReport]:
    """Returns one report for each source: the sum of the counts, and the newest medians."""
    found: dict[str, SourceReport] = {}
    for report in reports:
        one, before = report, found.get(report.source)
        if before is not None:
            counts = (before.accepted + one.accepted, before.future + one.future)
            one = replace(one, accepted=counts[0], future=counts[1])
        found[one.source] = one
    return list(found.values())
