"""Scoring in memory: its own arithmetic over an event table, one tick a day, no broker or database.

It produces the messages that the service would have sent on each day, byte for byte. Every number
comes from the `Assessor`; this module only selects its customers and keeps its results.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

import numpy as np

from services.scoring.core.features.compute import features
from services.scoring.core.features.decode import SCORED
from services.scoring.core.features.events import DAY_S, EventColumns
from services.scoring.core.features.fold import fold
from services.scoring.core.features.stable_hash import stable_hash
from services.scoring.core.features.state import take
from services.scoring.core.features.times import moments
from services.scoring.core.risk.timers import AFTER_BACKFILL
from services.scoring.core.value.base import Base, measure
from services.scoring.core.value.classify import Valuation
from services.scoring.core.value.compare import ClassificationRows
from services.scoring.core.value.grades import influence
from services.scoring.handlers.assess_customers import Assessor
from services.scoring.handlers.batch_customers import BatchCustomers
from services.scoring.handlers.classify_customers import ClassifyCustomers
from services.scoring.handlers.refresh_value_base import SAMPLE_CUSTOMERS_MAX
from services.scoring.ports import (
    Due,
    EventRows,
    LoadedClassification,
    LoadedRows,
    PartitionBatch,
    Predictor,
)
from services.scoring.store.apply_effects import classification_after, loaded_after
from services.scoring.training.data.event_table import EventTable
from shared.contracts import topics
from shared.kernel.arrays import Codes

TP: Final = ("backtest", 0)
"""All customers are in one partition, and none is foreign."""
DUE_MAX: Final = 20_000
"""Due customers of one batch: keeps the kernel's scratch space below 100 MB."""
FOLDED_MAX: Final = 500_000
"""Events folded in one go: about 150 MB of scratch space."""


@dataclass(slots=True)
class _NoRecord:
    """Stands for the log's record, of which a batch reads only the partition."""

    topic: str = TP[0]
    partition: int = TP[1]
    offset: int = 0
    timestamp: int = 0
    key: bytes | None = None
    value: bytes | None = None
    headers: tuple[tuple[str, bytes | None], ...] = ()


NO_RECORD: Final = _NoRecord()


class Scoring:
    """The scoring state of all customers of a table, from an import to the last tick.

    `until` is the end of the import, Unix seconds UTC: what lies before it is folded silently, and
    the first assessment comes with the first tick. Classifications follow `valuation`, with a base
    measured at `until`.
    """

    def __init__(
        self,
        table: EventTable,
        until: float,
        predictor: Predictor,
        assessor: Assessor,
        valuation: Valuation,
    ) -> None:
        self._table = table
        self._names = table.customers
        self._row = {name: row for row, name in enumerate(table.customers)}
        self._predictor = predictor
        self._assessor = assessor
        self._at = until
        n = len(table.customers)
        self._loaded = LoadedRows.nothing(n)
        self._standing = LoadedClassification.nothing(n)
        self.looks = 0
        """Number of assessments made so far, published or not."""
        self._import(table.between(-np.inf, until))
        self.valuation = replace(valuation, base=self._base(valuation))

    @property
    def grades(self) -> Codes:
        """int8[customers]: index in `grades.GRADES` by the last assessment; -1 unknown."""
        return self._standing.grade

    def tick(self, now: float) -> list[bytes]:
        """Fold all events up to `now` (Unix seconds UTC); assess their customers and due ones.

        Returns the risk messages, encoded.
        """
        events = self._rows(self._table.between(self._at, now))
        self._at = now
        found: list[bytes] = []
        for part in self._due(now):
            found += self._turn(events, part, now)
            events = EventRows()
        return found

    def _import(self, events: EventColumns) -> None:
        states = self._loaded.state
        for start in range(0, len(events), FOLDED_MAX):
            states = fold(
                states, events.select(np.arange(start, min(start + FOLDED_MAX, len(events))))
            )
        self._loaded.state = states
        known = np.unique(events.row)
        self._loaded.known[known] = True
        self._loaded.due_at[known] = AFTER_BACKFILL

    def _base(self, by: Valuation) -> Base | None:
        """Measure as the service does, on its sample; None while there are too few customers."""
        known = np.flatnonzero(self._loaded.known)
        hashes = np.array([stable_hash(self._names[row], "") for row in known.tolist()], np.uint64)
        sample = np.sort(known[np.argsort(hashes, kind="stable")[:SAMPLE_CUSTOMERS_MAX]])
        states = take(self._loaded.state, sample)
        x = features(states, np.full(len(sample), self._at))
        try:
            reach = influence([None] * len(sample))
            return measure(x, reach, states["categories"], by.policy, by.clock)
        except ValueError:
            return None

    def _due(self, now: float) -> Iterator[Due]:
        """Yield customers with fired timers, the oldest first, in parts; at least one part."""
        at = self._loaded.due_at
        due = np.flatnonzero(at <= now)
        due = due[np.argsort(at[due], kind="stable")]
        for start in range(0, max(len(due), 1), DUE_MAX):
            rows = due[start : start + DUE_MAX]
            yield Due(
                [self._names[row] for row in rows.tolist()],
                np.full(len(rows), TP[1], np.int64),
                at[rows],
                more=start + DUE_MAX < len(due),
            )

    def _turn(self, events: EventRows, due: Due, now: float) -> list[bytes]:
        moment = datetime.fromtimestamp(now, UTC)
        customers = BatchCustomers(events, [PartitionBatch(TP, 0, moment, {}, tick=True)], due)
        if not len(customers):
            return []
        rows = np.array([self._row[customer] for customer in customers.ids], np.int64)
        everybody = np.arange(len(rows))
        before = self._loaded.take(rows)
        classification = ClassifyCustomers(
            customers, everybody, self._standing.take(rows), self.valuation, topics.CHANGES.name
        )
        effects = self._assessor(customers, before, self._predictor, classification)
        self._loaded.put(rows, loaded_after(before, effects, everybody))
        if classification.rows is not None:
            self._keep(classification.rows)
        self.looks += len(effects.assessed)
        told = effects.assessments.message[effects.assessments.published]
        return [bytes(message) for message in told.tolist()]

    def _keep(self, written: ClassificationRows) -> None:
        rows = np.array([self._row[customer] for customer in written.customer.tolist()], np.int64)
        self._standing.put(rows, classification_after(written, self._standing.take(rows)))

    def _rows(self, events: EventColumns) -> EventRows:
        """Return a day's events as a decoded batch of live ones."""
        n = len(events)
        # Ids only break ties between equal times of scored answers.
        scored = np.isin(events.kind, SCORED)
        keys = events.key.tolist()
        names = [str(key) if one else "" for key, one in zip(keys, scored.tolist(), strict=True)]
        customers = [self._names[row] for row in events.row.tolist()]
        return EventRows(
            customer=customers,
            source=[""] * n,
            id=names,
            content_hash=[b""] * n,
            type=[""] * n,
            kind=events.kind.tolist(),
            time=[*moments(events.time)],
            amount=events.amount.tolist(),
            cost=events.cost.tolist(),
            until=events.until.tolist(),
            channel=events.channel.tolist(),
            category=events.category.tolist(),
            score=events.score.tolist(),
            original_customer=customers,
            received_ms=[0] * n,
            live=[True] * n,
            profile=[None] * n,
            record=[NO_RECORD] * n,
        )


def days(begin: float, end: float) -> list[float]:
    """Returns the ticks of a walk: each midnight (UTC) from `begin` to `end`, both included."""
    return [begin + DAY_S * n for n in range(int((end - begin) // DAY_S) + 1)]
