"""The standing of a turn's customers: read with their states, assessed with their risk, written and
told in the same transaction.

`Standing.load` before the arithmetic, `Stand` within it, `Standing.write` after the fence.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from services.scoring.core.times import moments
from services.scoring.core.value.affinity import Counts
from services.scoring.core.value.changes import Comparison, StandingRow, Subject, is_told
from services.scoring.core.value.money import money
from services.scoring.core.value.standing import NONE, Before, Risk, Valuation, assess
from services.scoring.handlers.work import Work
from services.scoring.ports import LoadedStanding, StandingStore
from shared.contracts.changes import ENCODER, CustomerChanged
from shared.contracts.events import Profile
from shared.contracts.risk import Standing as ToldStanding
from shared.postgres.engine import UnitOfWork
from shared.postgres.outbox import Message

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Ints = NDArray[np.int64]


@dataclass(slots=True)
class Stood:
    """What `Stand` found for the assessed rows, and what is to be written of it."""

    rows: list[StandingRow] = field(default_factory=list)
    changes: list[CustomerChanged] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    quality: Counter[str] = field(default_factory=Counter)
    """Customers by flag, of all that were assessed, whether a row is written or not."""


class Standing:
    """Loads and writes standings; `current` is what is in force (`handlers.valuation`)."""

    def __init__(
        self, store: StandingStore, current: Callable[[], Valuation], changes_topic: str
    ) -> None:
        self._store = store
        self._current = current
        self._topic = changes_topic

    async def load(self, work: UnitOfWork, job: Work) -> "Stand":
        """What is stored of whom the turn may assess."""
        # Only those of a partition that has a time for it are assessed.
        asked, customers = np.flatnonzero(~np.isnan(job.now)), job.customers
        if len(asked) < len(job):
            customers = [customers[row] for row in asked.tolist()]
        found = await self._store.load(work, customers)
        return Stand(job, asked, found, self._current(), self._topic)

    async def write(self, work: UnitOfWork, stood: Stood) -> None:
        """Store what changed; the caller holds the fence."""
        if stood.rows:
            await self._store.write(work, stood.rows, stood.changes)


class Stand:
    """The arithmetic for one turn: no I/O."""

    def __init__(
        self, job: Work, asked: Ints, loaded: LoadedStanding, by: Valuation, topic: str
    ) -> None:
        self._job = job
        self._loaded = loaded
        self._by = by
        self._topic = topic
        self._found: Comparison | None = None
        self._place = np.zeros(len(job), np.int64)
        self._place[asked] = np.arange(len(asked))
        self.stood = Stood()

    def __call__(
        self,
        rows: Ints,
        x: Floats,
        now: Floats,
        risk: Risk,
        categories: Counts,
        known: Flags,
        onboarding: Flags,
    ) -> None:
        """Assess the rows of the turn; everything else has their order. `categories` are the
        sketches, `known` those who had a state before."""
        loaded = self._loaded.take(self._place[rows])
        before = _before(loaded, now)
        standings = assess(x, now, risk, categories, self._profiles(rows, loaded), before, self._by)
        self._found = found = Comparison.of(standings, before, self._by)
        for flags, times in Counter(standings.quality).items():
            self.stood.quality.update(dict.fromkeys(flags, times))
        stored = np.flatnonzero(found.to_store(loaded.worth, loaded.at, now))
        # An import is no news, nor a first standing of somebody whom we knew before.
        silent = (~before.known & known) | onboarding
        of_each = zip(
            stored.tolist(),
            rows[stored].tolist(),
            loaded.sequence[stored].tolist(),
            moments(now[stored]),
            silent[stored].tolist(),
            risk.value[stored].tolist(),
            money(x[stored]).net.tolist(),
            strict=True,
        )
        for at, row, sequence, when, quiet, value, net in of_each:
            customer, partition = self._job.customers[row], self._job.partition[row]
            who = Subject(at, customer, partition, sequence, when)
            news = found.changes(who, silent=quiet)
            self.stood.rows.append(found.stored(who, sequence + len(news), value, net))
            self.stood.changes += news
            cause, key = self._job.turns[partition].tp, customer.encode()
            self.stood.messages += [
                Message(cause, self._topic, key, ENCODER.encode(one))
                for one in news
                if is_told(one)
            ]

    def told(self, at: int) -> ToldStanding | None:
        """The standing of the row at this place, as the risk message carries it."""
        return None if self._found is None else self._found.message(at)

    def _profiles(self, rows: Ints, loaded: LoadedStanding) -> list[Profile | None]:
        """The newest profile of each, one of this very turn included: last writer by (time, id)."""
        newest: list[tuple[datetime, str, Profile] | None] = loaded.profile.tolist()
        events = self._job.events
        told = [i for i, profile in enumerate(events.profile) if profile is not None]
        if told:
            at = {row: place for place, row in enumerate(rows.tolist())}
            for i in told:
                place = at.get(int(self._job.event_rows[i]))
                if place is None or (profile := events.profile[i]) is None:
                    continue
                key, before = (events.time[i], f"{events.source[i]}\n{events.id[i]}"), newest[place]
                if before is None or before[:2] < key:
                    newest[place] = (*key, profile)
        return [None if one is None else one[2] for one in newest]


def _before(loaded: LoadedStanding, now: Floats) -> Before:
    return Before(
        known=~np.isnan(loaded.at),
        grade=loaded.grade,
        tier=loaded.tier,
        behaviour=loaded.behaviour,
        lifecycle=loaded.lifecycle,
        lifecycle_since=loaded.lifecycle_since,
        # What a person has set, while it lasts.
        override=np.where(loaded.override_until > now, loaded.override, NONE).astype(np.int8),
        overridden=loaded.overridden,
        segments=loaded.segments.tolist(),
        rules_revision=loaded.rules_revision,
        policy_version=loaded.policy_version,
    )
