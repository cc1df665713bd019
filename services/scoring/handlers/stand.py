"""The standing of a turn's customers: read with their states, assessed with their risk, written and
told in the same transaction.

`Standing.load` before the arithmetic, `Stand` within it, `Standing.write` after the fence.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from services.scoring.core.value.affinity import Counts
from services.scoring.core.value.changes import Comparison, StandingRow, Subject, is_told
from services.scoring.core.value.grades import GRADES, TIERS
from services.scoring.core.value.lifecycle import BEHAVIOURS, LIFECYCLES
from services.scoring.core.value.money import money
from services.scoring.core.value.standing import NONE, Before, Risk, Valuation, assess
from services.scoring.ports import EventRows, LoadedStanding, PartitionTurn, StandingStore
from shared.contracts.changes import ENCODER, CustomerChanged
from shared.contracts.events import Profile
from shared.contracts.risk import Standing as ToldStanding
from shared.postgres.engine import UnitOfWork
from shared.postgres.outbox import Message

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_PROFILE: Final = msgspec.json.Decoder(Profile)


class Turn(Protocol):
    """Of a turn's work, what is read here (`handlers.assess.Work`)."""

    @property
    def customers(self) -> Sequence[str]: ...
    @property
    def partition(self) -> Sequence[int]: ...
    @property
    def events(self) -> EventRows: ...
    @property
    def event_rows(self) -> Sequence[int]: ...
    @property
    def turns(self) -> Mapping[int, PartitionTurn]: ...


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

    async def load(self, work: UnitOfWork, job: Turn) -> "Stand":
        """What is stored of whom the turn may assess."""
        # Only those of a partition that has a time for it are assessed.
        timed = {number for number, turn in job.turns.items() if turn.now is not None}
        asked = [row for row, number in enumerate(job.partition) if number in timed]
        found = await self._store.load(work, [job.customers[row] for row in asked])
        return Stand(job, dict(zip(asked, found, strict=True)), self._current(), self._topic)

    async def write(self, work: UnitOfWork, stood: Stood) -> None:
        """Store what changed; the caller holds the fence."""
        if stood.rows:
            await self._store.write(work, stood.rows, stood.changes)


class Stand:
    """The arithmetic for one turn: no I/O."""

    def __init__(
        self, job: Turn, loaded: dict[int, LoadedStanding], by: Valuation, topic: str
    ) -> None:
        self._job = job
        self._loaded = loaded
        self._by = by
        self._topic = topic
        self._found: Comparison | None = None
        self.stood = Stood()

    def __call__(
        self,
        rows: Ints,
        x: Floats,
        now: Floats,
        risk: Risk,
        categories: Counts,
        states: Sequence[bytes | None],
        onboarding: Callable[[int], bool],
    ) -> None:
        """Assess the rows of the turn; `categories` are the sketches of `rows`, `states` those
        before it, by row of the turn."""
        loaded = [self._loaded.get(row, _NOTHING) for row in rows.tolist()]
        before = _before(loaded, now)
        profiles = self._profiles(rows, loaded)
        standings = assess(x, now, risk, categories, profiles, before, self._by)
        self._found = found = Comparison.of(standings, before, self._by)
        self.stood.quality.update(flag for flags in standings.quality for flag in flags)
        worth = np.array([math.nan if one.worth is None else one.worth for one in loaded])
        store = found.to_store(worth, _seconds([one.at for one in loaded]), now)
        net = money(x).net
        for at in np.flatnonzero(store).tolist():
            row = int(rows[at])
            who = Subject(
                row=at,
                customer=self._job.customers[row],
                partition=self._job.partition[row],
                sequence=loaded[at].sequence,
                at=datetime.fromtimestamp(float(now[at]), UTC),
            )
            # An import is no news, nor a first standing of somebody whom we knew before.
            unnamed = not before.known[at] and states[row] is not None
            news = found.changes(who, silent=unnamed or onboarding(row))
            sequence = who.sequence + len(news)
            self.stood.rows.append(
                found.stored(who, sequence, float(risk.value[at]), float(net[at]))
            )
            self.stood.changes += news
            cause, key = self._job.turns[who.partition].tp, who.customer.encode()
            self.stood.messages += [
                Message(cause, self._topic, key, ENCODER.encode(one))
                for one in news
                if is_told(one)
            ]

    def told(self, at: int) -> ToldStanding | None:
        """The standing of the row at this place, as the risk message carries it."""
        return None if self._found is None else self._found.message(at)

    def _profiles(self, rows: Ints, loaded: Sequence[LoadedStanding]) -> list[Profile | None]:
        """The newest profile of each, one of this very turn included: last writer by (time, id)."""
        newest: dict[int, tuple[datetime, str, Profile]] = {}
        events = self._job.events
        for i, (row, profile) in enumerate(zip(self._job.event_rows, events.profile, strict=True)):
            if profile is not None:
                key = (events.time[i], f"{events.source[i]}\n{events.id[i]}")
                if row not in newest or newest[row][:2] < key:
                    newest[row] = (*key, profile)
        found: list[Profile | None] = []
        for row, one in zip(rows.tolist(), loaded, strict=True):
            stored, mine = one.profile, newest.get(row)
            if mine is not None and (stored is None or stored[:2] < mine[:2]):
                found.append(mine[2])
            else:
                found.append(None if stored is None else _PROFILE.decode(stored[2]))
        return found


_NOTHING: Final = LoadedStanding()


def _before(loaded: Sequence[LoadedStanding], now: Floats) -> Before:
    n = len(loaded)

    def codes(words: Sequence[str], name: str) -> NDArray[np.int8]:
        index = {word: code for code, word in enumerate(words)}
        found = (getattr(one, name) for one in loaded)
        return np.fromiter((index.get(word or "", NONE) for word in found), np.int8, n)

    return Before(
        known=np.fromiter((one.at is not None for one in loaded), np.bool_, n),
        grade=codes(GRADES, "grade"),
        tier=codes(TIERS, "tier"),
        behaviour=codes(BEHAVIOURS, "behaviour"),
        lifecycle=codes(LIFECYCLES, "lifecycle"),
        lifecycle_since=_seconds([one.lifecycle_since for one in loaded]),
        override=np.fromiter(map(_override, loaded, now.tolist()), np.int8, n),
        overridden=np.fromiter((one.overridden for one in loaded), np.bool_, n),
        segments=[frozenset(one.segments) for one in loaded],
        rules_revision=np.fromiter((one.rules_revision for one in loaded), np.int64, n),
        policy_version=np.fromiter((one.policy_version for one in loaded), np.int64, n),
    )


def _override(loaded: LoadedStanding, now: float) -> int:
    """The grade that a person has set, while it lasts."""
    if loaded.override is None or loaded.override[1].timestamp() <= now:
        return NONE
    return [*GRADES].index(loaded.override[0])  # type: ignore[arg-type] # checked when it was set


def _seconds(times: Sequence[datetime | None]) -> Floats:
    return np.array([math.nan if at is None else at.timestamp() for at in times], np.float64)
