"""Classifies a batch's customers in the transaction that reads and writes their states.

`ClassificationTables.load` runs before the arithmetic, a `ClassifyCustomers` in each step of it,
`ClassificationTables.write` after the fence. Changes are published in the same transaction.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from services.scoring.core.features.times import moments
from services.scoring.core.risk.excluded_days import paused_days
from services.scoring.core.value.affinity import Counts
from services.scoring.core.value.classify import (
    NONE,
    Before,
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
from services.scoring.handlers.apply_effects import classification_after
from services.scoring.handlers.batch import BatchCustomers, BatchStep
from services.scoring.ports import ClassificationStore, LoadedClassification
from shared.contracts.changes import ENCODER, CustomerChanged
from shared.contracts.risk import Classification as PublishedClassification
from shared.kernel.arrays import Codes, Flags, Floats, Ints
from shared.postgres.engine import UnitOfWork
from shared.postgres.outbox import Message


@dataclass(slots=True)
class ClassifiedRows:
    """Rows, changes and messages to write, collected by `ClassifyCustomers` over all steps."""

    rows: list[ClassificationRows] = field(default_factory=list)
    """Rows to store, one item per step that has any."""
    changes: list[CustomerChanged] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    quality: Counter[str] = field(default_factory=Counter)
    """Number of assessed customers by flag, whether their row is written or not."""


class ClassificationTables:
    """Loads and writes classifications.

    `current` returns the valuation in force (`handlers.value_policy_cache`)."""

    def __init__(
        self, store: ClassificationStore, current: Callable[[], Valuation], changes_topic: str
    ) -> None:
        self._store = store
        self._current = current
        self._topic = changes_topic

    async def load(self, work: UnitOfWork, batch: BatchCustomers) -> "BatchClassifications":
        """Reads the classifications of the customers that the batch may assess."""
        # Customers of a partition without a time for assessments are not assessed.
        assessed, customers = np.flatnonzero(batch.timed), batch.customers
        if len(assessed) < len(batch):
            customers = [customers[row] for row in assessed.tolist()]
        found = await self._store.load(work, customers)
        return BatchClassifications(batch, assessed, found, self._current(), self._topic)

    async def write(self, work: UnitOfWork, classified: ClassifiedRows) -> None:
        """Stores rows and changes; the caller holds the fence."""
        if classified.rows:
            rows = ClassificationRows.joined(classified.rows)
            # Only the last row of a customer that several steps assessed is stored.
            last = {customer: row for row, customer in enumerate(rows.customer.tolist())}
            if len(last) < len(rows):
                rows = rows.take(np.array([*last.values()], np.int64))
            await self._store.write(work, rows, classified.changes)


class BatchClassifications:
    """Classifications of a batch's customers; each step starts from the result of the last."""

    def __init__(
        self,
        batch: BatchCustomers,
        assessed: Ints,
        loaded: LoadedClassification,
        by: Valuation,
        topic: str,
    ) -> None:
        self._place = np.full(len(batch), -1)
        self._place[assessed] = np.arange(len(assessed))
        self.loaded = loaded
        self.by = by
        self.topic = topic
        self.classified = ClassifiedRows()
        self._several = len(batch.steps) > 1

    def of(self, job: BatchStep, rows: Ints | None = None) -> "ClassifyCustomers":
        """Returns the classification of one step, with these rows of the batch (None: all)."""
        place = self._place if rows is None else self._place[rows]
        self._learn(job, place)
        return ClassifyCustomers(self, job, place)

    def keep(self, place: Ints, rows: ClassificationRows, before: LoadedClassification) -> None:
        """Keeps the rows that a step has written, where another step may follow."""
        if self._several:
            self.loaded.put(place, classification_after(rows, before))

    def _learn(self, job: BatchStep, place: Ints) -> None:
        """Keeps each customer's newest profile: last writer by (time, id)."""
        events = job.events
        for i, profile in enumerate(events.profile):
            if profile is None or (at := place[job.event_rows[i]]) < 0:
                continue
            key = (events.time[i], f"{events.source[i]}\n{events.id[i]}")
            before = self.loaded.profile[at]
            if before is None or before[:2] < key:
                self.loaded.profile[at] = (*key, profile)


class ClassifyCustomers:
    """Classification arithmetic of one step, without I/O."""

    def __init__(self, batch: BatchClassifications, job: BatchStep, place: Ints) -> None:
        self._batch = batch
        self._job = job
        self._place = place
        self._compared: ClassificationComparison | None = None

    def __call__(
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
        """Classifies the rows of the step; all other arguments have their order.

        `categories` are the sketches; `known` marks the customers that had a state before."""
        place, classified = self._place[rows], self._batch.classified
        loaded = self._batch.loaded.take(place)
        before = _before(loaded, now)
        profiles = [None if one is None else one[2] for one in loaded.profile.tolist()]
        classifications = assess(
            x, now, risk, categories, profiles, before, self._batch.by, paused_days
        )
        self._compared = found = ClassificationComparison.of(
            classifications, before, self._batch.by
        )
        for flags, times in Counter(classifications.quality).items():
            classified.quality.update(dict.fromkeys(flags, times))
        stored = np.flatnonzero(found.to_store(loaded.worth, loaded.at, now))
        if not len(stored):
            return
        at = rows[stored].tolist()
        to = Written(
            customers=[self._job.customers[row] for row in at],
            partition=np.array([self._job.partition[row] for row in at], np.int64),
            sequence=loaded.sequence[stored],
            at=now[stored],
            value_at_risk=risk.value[stored],
            net_spent=money(x[stored]).net,
        )
        # Silent: changes by an import, and a first classification of a customer known before.
        self._publish_changes(found, stored, to, (~before.known & known) | onboarding)
        written = found.rows(stored, to)
        classified.rows.append(written)
        self._batch.keep(place[stored], written, loaded.take(stored))

    def _publish_changes(
        self, found: ClassificationComparison, stored: Ints, to: Written, silent: Flags
    ) -> None:
        """Collects the changes of these rows, numbered on, and the messages about them."""
        classified, when = self._batch.classified, moments(to.at)
        for n in np.flatnonzero(found.changed[stored]).tolist():
            at, customer = int(stored[n]), to.customers[n]
            who = ChangeSubject(at, customer, int(to.sequence[n]), when[n])
            news = found.changes(who, silent=bool(silent[at]))
            to.sequence[n] += len(news)
            classified.changes += news
            cause, key = self._job.parts[int(to.partition[n])].tp, customer.encode()
            classified.messages += [
                Message(cause, self._batch.topic, key, ENCODER.encode(one))
                for one in news
                if is_published(one)
            ]

    def paused_days(self, rows: Ints, x: Floats, now: Floats) -> Floats:
        """Returns float64[n]: days of these rows' present silences that do not count."""
        of, place = self._batch.loaded, self._place[rows]
        closures = self._batch.by.clock.closures
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

    @property
    def by(self) -> Valuation:
        """Valuation in force."""
        return self._batch.by

    def published(self, at: int) -> PublishedClassification | None:
        """Returns the classification of the row at this place, as the risk message contains it."""
        return None if self._compared is None else self._compared.message(at)


def _before(loaded: LoadedClassification, now: Floats) -> Before:
    return Before(
        known=~np.isnan(loaded.at),
        grade=loaded.grade,
        tier=loaded.tier,
        behaviour=loaded.behaviour,
        lifecycle=loaded.lifecycle,
        lifecycle_since=loaded.lifecycle_since,
        # A grade set by a person holds until it expires.
        override=np.where(loaded.override_until > now, loaded.override, NONE).astype(np.int8),
        overridden=loaded.overridden,
        segments=loaded.segments.tolist(),
        rules_revision=loaded.rules_revision,
        policy_version=loaded.policy_version,
    )
