"""What scoring's handlers need of the world, and the columns that they exchange with it."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from services.scoring.core.contracts import Labels
from services.scoring.core.value.changes import StandingRow
from shared.contracts.changes import CustomerChanged
from shared.contracts.events import Profile
from shared.contracts.risk import Method
from shared.kafka.batch import Batch, Record
from shared.kernel.errors import Transient
from shared.postgres.engine import UnitOfWork
from shared.postgres.ledger import Move, TopicPartition
from shared.postgres.outbox import Message, Pending

Floats = NDArray[np.float64]

NOW = "now"
"""Progress: business time of the partition, Unix seconds UTC; never goes back."""
BACKFILL = "backfill"
"""Progress: the import that is under way in the partition; its sweep rests meanwhile."""
ENDED = "ended"
"""Progress: imports that have ended, the latest last."""
ENDED_MAX = 16
"""How many of them are remembered: what comes late of one of these (through another partition
upstream, or as a replayed dead letter) is silent without putting the sweep to rest again."""


class Recorded(Transient):
    """An event that was taken for a new one is stored: look all of them up, and try again."""


class Predictor(Protocol):
    """A model or the rule: feature rows in, probability of silence out."""

    @property
    def version(self) -> str: ...
    @property
    def method(self) -> Method: ...
    @property
    def labels(self) -> Labels: ...
    @property
    def feature_set(self) -> int: ...
    @property
    def horizon_days(self) -> int: ...
    def predict(self, x: Floats) -> Floats: ...
    def explain(self, x: Floats) -> Floats: ...
    def over(self, x: Floats, p: Floats, days: Sequence[int]) -> Floats:
        """float64[n, k]: P(no purchase) over each of `days`, given `p = predict(x)`; only of
        customers with a purchase. Never rises with the horizon."""
        ...


@dataclass(slots=True)
class EventRows:
    """Decoded events of one batch as columns of equal length, in the log's order."""

    customer: list[str] = field(default_factory=list)
    source: list[str] = field(default_factory=list)
    id: list[str] = field(default_factory=list)
    content_hash: list[bytes] = field(default_factory=list)
    type: list[str] = field(default_factory=list)
    kind: list[int] = field(default_factory=list)
    """`core.events.Kind`; 0 for events that leave the state alone (profiles)."""
    time: list[datetime] = field(default_factory=list)
    amount: list[float] = field(default_factory=list)
    cost: list[float] = field(default_factory=list)
    channel: list[int] = field(default_factory=list)
    category: list[int] = field(default_factory=list)
    score: list[float] = field(default_factory=list)
    original_customer: list[str] = field(default_factory=list)
    received_ms: list[int] = field(default_factory=list)
    live: list[bool] = field(default_factory=list)
    """False for events of a backfill."""
    profile: list[Profile | None] = field(default_factory=list)
    record: list[Record] = field(default_factory=list)
    """As it was read: its value is kept as history, its origin names a dead letter."""

    def __len__(self) -> int:
        return len(self.customer)

    def select(self, rows: Sequence[int]) -> "EventRows":
        """The rows at these indices, in their order."""
        columns = {n: [getattr(self, n)[i] for i in rows] for n in self.__slots__}
        return EventRows(**columns)


@dataclass(slots=True)
class PartitionTurn:
    """What one turn does with one partition."""

    tp: TopicPartition
    consumed: int
    """How many of the batch's records it consumes."""
    now: datetime | None
    """Business time at which customers of the partition are assessed; None: not now."""
    progress: dict[str, object]
    """Kept with the offset: see `NOW` and `BACKFILL`."""
    tick: bool = False
    """The last consumed record is a tick; it is consumed only once its sweep is done."""
    tick_received_ms: int = 0
    """When this tick entered the raw topic, Unix ms."""

    @property
    def sweeping(self) -> bool:
        """Timers of this partition may fire now."""
        return self.now is not None and BACKFILL not in self.progress


@dataclass(frozen=True, slots=True)
class Loaded:
    """What is stored of some customers; every column has their order. None: never stored."""

    state: list[bytes | None]
    feature_set: list[int | None]
    revision: list[int | None]
    band: list[int | None]
    published_at: list[datetime | None]
    published_probability: list[float | None]
    published_band: list[int | None]
    published_reason: list[str | None]
    due_at: list[datetime | None]
    look_at: list[datetime | None]
    """When the last assessment wanted the next look; the timer may fire before it."""


@dataclass(slots=True)  # not frozen: that makes each one four times as slow to build
class AssessmentRow:
    """One customer's new assessment, as stored; never changed once it is made."""

    customer: str
    partition: int
    revision: int
    assessed_at: datetime
    probability: float
    band: int
    look_at: datetime
    features: bytes
    published_reason: str | None
    """The leading reason that the risk topic was last told."""
    value_at_risk: float
    """Money expected within the horizon, times the probability; reporting currency."""
    message: bytes | None
    """The risk message; None where nothing material changed."""
    horizons: bytes
    """P(no purchase) over each horizon (`core.horizons.pack`)."""


@dataclass(slots=True)
class Effects:
    """Everything that one transaction writes."""

    events: EventRows
    """New events only."""
    states: list[tuple[str, int, bytes]]
    """(customer, partition, state)."""
    timers: list[tuple[str, int, datetime]]
    """(customer, partition, due at): armed as given."""
    assessments: list[AssessmentRow]
    predictor: Predictor
    messages: list[Message]
    moves: list[Move]
    recorded_at: datetime
    quality: Mapping[str, int] = field(default_factory=dict)
    """How many of the customers looked at have each quality flag."""


@dataclass(frozen=True, slots=True)
class Made:
    """A published assessment with all that it was made from."""

    customer_id: str
    revision: int
    probability: float
    model_version: str
    feature_set: int
    horizon_days: int
    features: bytes
    """Little-endian float64, in the order of the feature set."""
    horizons: bytes | None
    """As in `AssessmentRow`; None of assessments older than these."""


@dataclass(slots=True)  # not frozen, as `AssessmentRow`
class LoadedStanding:
    """What is stored of one customer's standing; never changed. `at` None: nothing was said."""

    at: datetime | None = None
    sequence: int = 0
    grade: str | None = None
    tier: str | None = None
    behaviour: str | None = None
    lifecycle: str | None = None
    lifecycle_since: datetime | None = None
    segments: Sequence[str] = ()
    rules_revision: int = 0
    policy_version: int = 0
    worth: float | None = None
    overridden: bool = False
    """The grade above was set by a person."""
    override: tuple[str, datetime] | None = None
    """A grade that a person has set, and until when."""
    profile: tuple[datetime, str, bytes] | None = None
    """Changed at, event id, JSON."""


class StandingStore(Protocol):
    """Standings, within the transaction of a turn."""

    async def load(self, work: UnitOfWork, customers: Sequence[str]) -> list[LoadedStanding]: ...
    async def write(
        self, work: UnitOfWork, rows: Sequence[StandingRow], changes: Sequence[CustomerChanged]
    ) -> None: ...


class Store(Protocol):
    """Scoring's tables, within one open transaction."""

    def open(self) -> AbstractAsyncContextManager[UnitOfWork]: ...
    async def known(self, work: UnitOfWork, events: EventRows) -> dict[int, bytes]: ...
    async def due(
        self, work: UnitOfWork, nows: dict[int, datetime], limit: int
    ) -> list[tuple[str, int]]: ...
    async def load(self, work: UnitOfWork, customers: Sequence[str]) -> Loaded: ...
    async def record(self, work: UnitOfWork, events: EventRows, recorded_at: datetime) -> None: ...
    async def write(self, work: UnitOfWork, effects: Effects) -> list[Pending]: ...


class Sender(Protocol):
    """Sends what the transaction left, after its commit."""

    async def forget(self, work: UnitOfWork) -> None: ...
    async def flush(self, pending: Sequence[Pending]) -> None: ...


class Decode(Protocol):
    """Reads a batch into columns, partition turns and dead letters."""

    def __call__(
        self, batch: Batch, wall: datetime
    ) -> tuple[EventRows, list[PartitionTurn], list[Message]]: ...
    def same_id(self, record: Record) -> Message: ...
