"""What scoring's handlers need of the world, and the columns that they exchange with it."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from services.scoring.core.features.columns import Columns
from services.scoring.core.features.contracts import Labels
from services.scoring.core.features.state import empty
from services.scoring.core.imports import under_way
from services.scoring.core.risk.bands import NO_BAND
from services.scoring.core.value.classify import NO_SEGMENTS, NONE
from services.scoring.core.value.compare import ClassificationColumns, ClassificationRows
from shared.contracts.changes import CustomerChanged
from shared.contracts.events import Profile
from shared.contracts.risk import Method
from shared.kafka.batch import Batch, ConsumedRecord
from shared.kernel.errors import Transient
from shared.postgres.engine import UnitOfWork
from shared.postgres.ledger import Move, TopicPartition
from shared.postgres.outbox import Message, Pending

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Codes = NDArray[np.int8]
Flags = NDArray[np.bool_]

NOW = "now"
"""Progress: business time of the partition, Unix seconds UTC; never goes back."""
SOURCES = "sources"
"""Progress: what each source of purchases usually delivers (`core.monitoring.source_outage`)."""


def sources_of(progress: Mapping[str, object]) -> dict[str, list[float]]:
    """What is known of the sources of a partition; empty before the first purchase."""
    found = progress.get(SOURCES)
    return found if isinstance(found, dict) else {}


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

    def lapse(self, x: Floats, p: Floats, rest: Floats) -> Floats:
        """float64[n]: P(no purchase in the next `rest` days of each row), given `p = predict(x)`;
        only of customers with a purchase. 1 where no day is left."""
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
    """`core.features.compute.events.Kind`; 0 for events that leave the state alone (profiles)."""
    time: list[datetime] = field(default_factory=list)
    amount: list[float] = field(default_factory=list)
    cost: list[float] = field(default_factory=list)
    channel: list[int] = field(default_factory=list)
    category: list[int] = field(default_factory=list)
    score: list[float] = field(default_factory=list)
    until: list[float] = field(default_factory=list)
    """Known end of an activated contract, Unix seconds UTC; NaN for none."""
    original_customer: list[str] = field(default_factory=list)
    received_ms: list[int] = field(default_factory=list)
    live: list[bool] = field(default_factory=list)
    """False for events of a backfill."""
    profile: list[Profile | None] = field(default_factory=list)
    record: list[ConsumedRecord] = field(default_factory=list)
    """As it was read: its value is kept as history, its origin names a dead letter."""
    step: list[int] = field(default_factory=list)
    """Within the turn; in a replay each step ends with a tick."""

    def __len__(self) -> int:
        return len(self.customer)

    def extend(self, others: "EventRows") -> None:
        """Append their rows."""
        for name in self.__slots__:
            getattr(self, name).extend(getattr(others, name))

    def select(self, rows: Sequence[int]) -> "EventRows":
        """The rows at these indices, in their order."""
        columns = {n: [getattr(self, n)[i] for i in rows] for n in self.__slots__}
        return EventRows(**columns)


@dataclass(slots=True)
class PartitionBatch:
    """What one step of a turn does with one partition."""

    tp: TopicPartition
    consumed: int
    """How many of the batch's records are consumed with it, from the batch's first."""
    now: datetime | None
    """Business time at which customers of the partition are assessed; None: not now."""
    progress: dict[str, object]
    """Kept with the offset: see `NOW`, `SOURCES` and `core.imports`."""
    tick: bool = False
    """The last consumed record is a tick; it is consumed only once its sweep is done."""
    tick_received_ms: int = 0
    """When this tick entered the raw topic, Unix ms."""
    dead: list[Message] = field(default_factory=list)
    """Dead letters of what could not be read."""

    @property
    def sweeping(self) -> bool:
        """Timers of this partition may fire now."""
        return self.now is not None and under_way(self.progress) is None


@dataclass(slots=True)
class LoadedRows(Columns):
    """What is stored of some customers; every column has their order. Times are Unix seconds UTC,
    to the microsecond as PostgreSQL keeps them, and NaN where there is none."""

    state: NDArray[np.void]
    """STATE[n]; the empty one where none is stored."""
    known: Flags
    """Whether a state is stored."""
    revision: Ints
    """Of the last assessment; 0 without one."""
    probability: Floats
    """Of the last assessment; NaN also where it was made of another feature set."""
    band: Codes
    """Of the last assessment; `NO_BAND` without one."""
    model_version: NDArray[np.object_]
    """str, what made the last assessment; None without one."""
    published_at: Floats
    published_probability: Floats
    published_band: Codes
    """`NO_BAND` where never published."""
    published_signs: NDArray[np.int16]
    """Signs of leaving as the topic was last sent them: bits of `signs.detectors.CODES`."""
    due_at: Floats
    """Of the timer."""
    look_at: Floats
    """When the last assessment wanted the next look; the timer may fire before it."""

    @classmethod
    def nothing(cls, n: int) -> "LoadedRows":
        """Customers of whom nothing is stored."""
        return cls(
            state=empty(n),
            known=np.zeros(n, np.bool_),
            revision=np.zeros(n, np.int64),
            probability=np.full(n, np.nan),
            band=np.full(n, NO_BAND, np.int8),
            model_version=np.full(n, None, np.object_),
            published_at=np.full(n, np.nan),
            published_probability=np.full(n, np.nan),
            published_band=np.full(n, NO_BAND, np.int8),
            published_signs=np.zeros(n, np.int16),
            due_at=np.full(n, np.nan),
            look_at=np.full(n, np.nan),
        )


@dataclass(slots=True)
class NewAssessments(Columns):
    """New assessments, each customer's in the order of their revisions; never changed once made."""

    row: Ints
    """The customer, as index into `BatchEffects.customers`."""
    revision: Ints
    assessed_at: Floats
    """Unix seconds UTC, to the microsecond, as `look_at`."""
    probability: Floats
    band: Codes
    look_at: Floats
    features: Floats
    """float64[n, F]."""
    published_signs: NDArray[np.int16]
    """Signs that the risk topic was last sent, as in `LoadedRows`."""
    value_at_risk: Floats
    """Money expected within the horizon, times the lapse probability; reporting currency."""
    told: Flags
    """Whether the risk topic is told of it: something material changed."""
    message: NDArray[np.object_]
    """bytes, the risk message; None where nobody is told."""
    horizons: NDArray[np.object_]
    """bytes: P(no purchase) over each horizon (`core.risk.horizons.pack`)."""

    @classmethod
    def none(cls) -> "NewAssessments":
        """Of nobody."""
        whole, real, code = np.zeros(0, np.int64), np.zeros(0), np.zeros(0, np.int8)
        bits = np.zeros(0, np.int16)
        flag, thing = np.zeros(0, np.bool_), np.zeros(0, object)
        return cls(
            whole, whole, real, real, code, real, np.zeros((0, 0)), bits, real, flag, thing, thing
        )


@dataclass(slots=True)
class AssessedRows(Columns):
    """What every look of a turn found, also where the current assessment still holds."""

    probability: Floats
    band: Codes

    @classmethod
    def none(cls) -> "AssessedRows":
        """At nobody."""
        return cls(np.zeros(0), np.zeros(0, np.int8))


@dataclass(slots=True)
class BatchEffects:
    """Everything that one transaction writes."""

    events: EventRows
    """New events only."""
    customers: Sequence[str]
    """Those concerned; who was touched by events comes first."""
    partition: Sequence[int]
    """Under which each is written."""
    stored: Flags
    """Whether a state is stored of each."""
    timer: Floats
    """float64[n], Unix seconds UTC: each timer as it was read; NaN without one."""
    states: NDArray[np.void]
    """STATE of the first so many customers: those touched."""
    due_at: Floats
    """float64[n], Unix seconds UTC: the timer is armed so; NaN: it stays as it is."""
    assessments: NewAssessments
    predictor: Predictor
    messages: list[Message]
    moves: list[Move]
    recorded_at: datetime
    looks: AssessedRows = field(default_factory=AssessedRows.none)
    quality: Mapping[str, int] = field(default_factory=dict)
    """How many of the customers looked at have each quality flag."""


@dataclass(frozen=True, slots=True)
class PublishedAssessment:
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
    """As in `NewAssessments`; None of assessments older than these."""
    message: bytes
    """The risk message as it was sent."""


@dataclass(slots=True)
class LoadedClassification(ClassificationColumns):
    """What is stored of some customers' standing, in their order; times are NaN where there is
    none."""

    override: Codes
    """A grade that a person has set, ..."""
    override_until: Floats
    """... and until when."""
    away_from: Floats
    """An absence that was announced, ..."""
    away_until: Floats
    """... and when it ends."""
    profile: NDArray[np.object_]
    """tuple[datetime, str, Profile]: changed at, event id, and what it says; or None."""

    @classmethod
    def nothing(cls, n: int) -> "LoadedClassification":
        """Customers of whom nothing is stored."""
        unsaid, never, zero = np.full(n, NONE, np.int8), np.full(n, np.nan), np.zeros(n, np.int64)
        return cls(
            at=never,
            sequence=zero,
            grade=unsaid,
            tier=unsaid.copy(),
            behaviour=unsaid.copy(),
            lifecycle=unsaid.copy(),
            lifecycle_since=never.copy(),
            segments=np.full(n, NO_SEGMENTS, np.object_),
            rules_revision=zero.copy(),
            policy_version=zero.copy(),
            worth=never.copy(),
            overridden=np.zeros(n, np.bool_),
            override=unsaid.copy(),
            override_until=never.copy(),
            away_from=never.copy(),
            away_until=never.copy(),
            profile=np.full(n, None, np.object_),
        )


class ClassificationStore(Protocol):
    """Standings, within the transaction of a turn."""

    async def load(self, work: UnitOfWork, customers: Sequence[str]) -> LoadedClassification: ...
    async def write(
        self, work: UnitOfWork, rows: ClassificationRows, changes: Sequence[CustomerChanged]
    ) -> None: ...


@dataclass(frozen=True, slots=True)
class Due:
    """Customers whose timers have fired; all columns have their order."""

    customers: list[str]
    partition: Ints
    at: Floats
    """Of their timers, Unix seconds UTC."""
    more: bool
    """There may be others, who are for another turn."""

    def __len__(self) -> int:
        return len(self.customers)

    @classmethod
    def nobody(cls) -> "Due":
        """No timer has fired."""
        return cls([], np.zeros(0, np.int64), np.zeros(0), more=False)


class Store(Protocol):
    """Scoring's tables, within one open transaction."""

    def open(self) -> AbstractAsyncContextManager[UnitOfWork]: ...
    async def known(self, work: UnitOfWork, events: EventRows) -> dict[int, bytes]: ...
    async def due(
        self,
        work: UnitOfWork,
        nows: dict[int, datetime],
        limit: int,
        *,
        avoid: Sequence[str] = (),
        only: Sequence[str] = (),
    ) -> Due:
        """Whose timer is due: none of `avoid` and, unless it is empty, of `only` alone."""
        ...

    async def load(self, work: UnitOfWork, customers: Sequence[str], due_at: Floats) -> LoadedRows:
        """What is stored of `customers`, in their order; `due_at` are their timers, Unix seconds
        UTC, NaN where the timer has to be read, too."""
        ...

    async def record(self, work: UnitOfWork, events: EventRows, recorded_at: datetime) -> None: ...
    async def write(self, work: UnitOfWork, effects: BatchEffects) -> list[Pending]: ...


class Sender(Protocol):
    """Sends what the transaction left, after its commit."""

    async def forget(self, work: UnitOfWork) -> None: ...
    async def flush(self, pending: Sequence[Pending]) -> None: ...


class Decode(Protocol):
    """Reads a batch into columns and the partition turns of each step."""

    def __call__(
        self, batch: Batch, wall: datetime
    ) -> tuple[EventRows, list[list[PartitionBatch]]]: ...
    def same_id(self, record: ConsumedRecord) -> Message: ...
