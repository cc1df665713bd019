"""Classifies a batch's customers in the transaction that reads and writes their states.

`ClassificationTables.load` runs before the arithmetic, `ClassifyCustomers` in it,
`ClassificationTables.write` after the fence. Changes are published in the same transaction.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from services.scoring.core.features.times import moments
from services.scoring.core.risk.excluded_days import paused_days
from services.scoring.core.value.affinity import Counts
from services.scoring.core.value.classify import (
    NONE,
    Risk,
    Valuation,
    assess,
)
from services.scoring.core.value.compare import (
    ChangeSubject,
    ClassificationComparison,
    ClassificationRows,
    Written,
    is_published,
)
from services.scoring.core.value.money import money
from services.scoring.handlers.batch_customers import BatchCustomers
from services.scoring.ports import ClassificationStore, LoadedClassification
from shared.contracts.changes import ENCODER, CustomerChanged
from shared.contracts.risk import Classification as PublishedClassification
from shared.kernel.arrays import Codes, Flags, Floats, Ints
from shared.postgres.engine import UnitOfWork
from shared.postgres.outbox import Message


@dataclass(frozen=True, slots=True)
class ClassificationTables:
    """Loads and writes classifications.

    `current` returns the valuation in force (`handlers.value_policy_cache`)."""

    store: ClassificationStore
    current: Callable[[], Valuation]
    changes_topic: str

    async def load(self, work: UnitOfWork, customers: BatchCustomers) -> "ClassifyCustomers":
        """Reads the classifications of the customers that the batch may assess."""
        # Customers of a partition without a time for assessments are not assessed.
        assessed, ids = np.flatnonzero(~np.isnan(customers.now)), customers.ids
        if len(assessed) < len(customers):
            ids = [ids[row] for row in assessed.tolist()]
        found = await self.store.load(work, ids)
        return ClassifyCustomers(customers, assessed, found, self.current(), self.changes_topic)

    async def write(self, work: UnitOfWork, classified: "ClassifyCustomers") -> None:
        """Stores rows and changes; the caller holds the fence."""
        if classified.rows is not None:
            await self.store.write(work, classified.rows, classified.changes)


class ClassifyCustomers:
    """Classification arithmetic of one batch, without I/O, and what it found."""

    def __init__(
        self,
        customers: BatchCustomers,
        assessed: Ints,
        loaded: LoadedClassification,
        valuation: Valuation,
        topic: str,
    ) -> None:
        """`loaded` has the order of `assessed`, the rows that may be classified."""
        self._customers = customers
        self._place = np.full(len(customers), -1)
        self._place[assessed] = np.arange(len(assessed))
        self._loaded = loaded
        self._topic = topic
        self._compared: ClassificationComparison | None = None
        self.valuation = valuation
        """Valuation in force."""
        self.rows: ClassificationRows | None = None
        """Rows to store."""
        self.changes: list[CustomerChanged] = []
        self.messages: list[Message] = []
        self.quality: Counter[str] = Counter()
        """Number of assessed customers by flag, whether their row is written or not."""
        self._learn()

    def _learn(self) -> None:
        """Keeps each customer's newest profile: last writer by (time, id)."""
        events, profiles = self._customers.events, self._loaded.profile
        for i, profile in enumerate(events.profile):
            if profile is None or (at := self._place[self._customers.event_rows[i]]) < 0:
                continue
            key = (events.time[i], f"{events.source[i]}\n{events.id[i]}")
            if profiles[at] is None or profiles[at][:2] < key:
                profiles[at] = (*key, profile)

    def run(
        self,
        rows: Ints,
        x: Floats,
        now: Floats,
        risk: Risk,
        categories: Counts,
        known: Flags,
        onboarding: Flags,
        paused_days: Floats,
    ) -> None:
        """Classifies these rows; all other arguments have their order.

        `categories` are the sketches; `known` marks the customers that had a state before."""
        before = self._loaded.take(self._place[rows])
        # A grade set by a person holds until it expires.
        before.override[~(before.override_until > now)] = NONE
        profiles = [None if one is None else one[2] for one in before.profile.tolist()]
        classifications = assess(
            x, now, risk, categories, profiles, before, self.valuation, paused_days
        )
        self._compared = found = ClassificationComparison.of(
            classifications, before, self.valuation
        )
        for flags, times in Counter(classifications.quality).items():
            self.quality.update(dict.fromkeys(flags, times))
        stored = np.flatnonzero(found.to_store(now))
        if not len(stored):
            return
        at = rows[stored].tolist()
        to = Written(
            customers=[self._customers.ids[row] for row in at],
            partition=np.array([self._customers.partition[row] for row in at], np.int64),
            sequence=before.sequence[stored],
            at=now[stored],
            value_at_risk=risk.value_at_risk[stored],
            net_spent=money(x[stored]).net,
        )
        # Silent: changes by an import, and a first classification of a customer known before.
        self._publish_changes(found, stored, to, (~before.known & known) | onboarding)
        self.rows = found.rows(stored, to)

    def _publish_changes(
        self, found: ClassificationComparison, stored: Ints, to: Written, silent: Flags
    ) -> None:
        """Collects the changes of these rows, numbered on, and the messages about them."""
        when = moments(to.at)
        for n in np.flatnonzero(found.changed[stored]).tolist():
            at, customer = int(stored[n]), to.customers[n]
            who = ChangeSubject(at, customer, int(to.sequence[n]), when[n])
            news = found.changes(who, silent=bool(silent[at]))
            to.sequence[n] += len(news)
            self.changes += news
            tp, key = self._customers.parts[int(to.partition[n])].tp, customer.encode()
            self.messages += [
                Message(tp, self._topic, key, ENCODER.encode(one))
                for one in news
                if is_published(one)
            ]

    def paused_days(self, rows: Ints, x: Floats, now: Floats) -> Floats:
        """Returns float64[n]: days of these rows' present silences that do not count."""
        of, place = self._loaded, self._place[rows]
        closures = self.valuation.clock.closures
        return paused_days(x, now, closures, of.away_from[place], of.away_until[place])

    @property
    def grade(self) -> Codes:
        """int8[n], of the assessed rows: index into `grades.GRADES`; -1 unknown."""
        return self._comparison.now.grade

    @property
    def lifecycle(self) -> Codes:
        """int8[n], of the assessed rows: index into `lifecycle.LIFECYCLES`; -1 unknown."""
        return self._comparison.now.lifecycle

    @property
    def _comparison(self) -> ClassificationComparison:
        if self._compared is None:
            raise RuntimeError("nothing was assessed yet")
        return self._compared

    def published(self, at: int) -> PublishedClassification | None:
        """Returns the classification of the row at this place, as the risk message contains it."""
        return None if self._compared is None else self._compared.message(at)
