"""Ports of scoring's handlers, and the columns that they exchange with their adapters."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from services.scoring.core.features.columns import Columns
from services.scoring.core.features.contracts import Labels
from services.scoring.core.imports import under_way
from services.scoring.core.value.classify import Before
from services.scoring.core.value.compare import ClassificationRows
from shared.contracts.changes import CustomerChanged
from shared.contracts.events import Identity, Profile
from shared.contracts.risk import Method
from shared.kafka.batch import Batch, ConsumedRecord
from shared.kernel.arrays import Codes, Flags, Floats, Ints
from shared.kernel.errors import Transient
from shared.postgres.engine import UnitOfWork
from shared.postgres.ledger import Move, TopicPartition
from shared.postgres.outbox import Message, Pending

NOW = "now"
"""Key of progress: business time of the partition, Unix seconds UTC; never decreases."""
SOURCES = "sources"
"""Key of progress: usual deliveries per source of purchases (`core.monitoring.source_outage`)."""


def sources_of(progress: Mapping[str, object]) -> dict[str, list[float]]:
    """Returns the usual deliveries of a partition's sources; empty before the first purchase."""
    found = progress.get(SOURCES)
    return found if isinstance(found, dict) else {}


class AlreadyStored(Transient):
    """An event assumed to be new is stored already: query all keys, and try again."""


class Predictor(Protocol):
    """Model or rule: feature rows in, probability of silence out."""

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
        """Returns float64[n, k]: P(no purchase) over each of `days`, given `p = predict(x)`.

        Only for customers with a purchase. Never rises with the horizon."""
        ...

    def lapse_probability(self, x: Floats, p: Floats, rest: Floats) -> Floats:
        """Returns float64[n]: P(no purchase in each row's next `rest` days).

        Given `p = predict(x)`; only for customers with a purchase. 1 where no day is left."""
        ...


@dataclass(slots=True)
class EventRows:
    """Decoded events of one batch: columns of equal length, in the log's order."""

    customer: list[str] = field(default_factory=list)
    source: list[str] = field(default_factory=list)
    id: list[str] = field(default_factory=list)
    content_hash: list[bytes] = field(default_factory=list)
    type: list[str] = field(default_factory=list)
    kind: list[int] = field(default_factory=list)
    """`core.features.events.Kind`; 0 for events that do not change the state (profiles)."""
    time: list[datetime] = field(default_factory=list)
    amount: list[float] = field(default_factory=list)
    cost: list[float] = field(default_factory=list)
    channel: list[int] = field(default_factory=list)
    category: list[int] = field(default_factory=list)
    score: list[float] = field(default_factory=list)
    until: list[float] = field(default_factory=list)
    """Known end of an activated contract, or of expiring points, Unix seconds UTC; NaN for none."""
    original_customer: list[str] = field(default_factory=list)
    received_ms: list[int] = field(default_factory=list)
    live: list[bool] = field(default_factory=list)
    """False for events of a backfill."""
    profile: list[Profile | None] = field(default_factory=list)
    identity: list[Identity | None] = field(default_factory=list)
    refuses: list[bool | None] = field(default_factory=list)  # to be assessed; None: neither
    record: list[ConsumedRecord] = field(default_factory=list)
    """The record as read: its value is kept as history, its origin identifies a dead letter."""

    def __len__(self) -> int:
        return len(self.customer)

    def extend(self, others: "EventRows") -> None:
        """Appends the rows of `others`."""
        for name in self.__slots__:
            getattr(self, name).extend(getattr(others, name))

    def select(self, rows: Sequence[int]) -> "EventRows":
        """Returns the rows at these indices, in their order."""
        columns = {n: [getattr(self, n)[i] for i in rows] for n in self.__slots__}
        return EventRows(**columns)


@dataclass(slots=True)
class PartitionBatch:
    """Part of one partition in a batch; in a replay it ends at most with one tick."""

    tp: TopicPartition
    consumed: int
    """Number of the batch's records consumed, counted from the batch's first."""
    now: datetime | None
    """Business time at which customers of the partition are assessed; None: not now."""
    progress: dict[str, object]
    """Values stored with the offset: see `NOW`, `SOURCES` and `core.imports`."""
    tick: bool = False
    """The last consumed record is a tick; it is consumed only once its sweep is done."""
    tick_received_ms: int = 0
    """When this tick entered the raw topic, Unix ms."""
    dead: list[Message] = field(default_factory=list)
    """Dead letters of records that could not be read."""

    @property
    def sweeping(self) -> bool:
        """Whether timers of this partition may fire now."""
        return self.now is not None and under_way(self.progress) is None


@dataclass(slots=True)
class LoadedRows(Columns):
    """Stored columns of some customers, in their order.

    Times are Unix seconds UTC, to the microsecond as PostgreSQL keeps them; NaN where none is
    stored."""

    state: NDArray[np.void]
    """STATE[n]; the empty state where none is stored."""
    known: Flags
    """Whether a state is stored."""
    revision: Ints
    """Revision of the last assessment; 0 without one."""
    probability: Floats
    """Probability of the last assessment; NaN without one and for another feature set."""
    band: Codes
    """Band of the last assessment; `NO_BAND` without one."""
    model_version: NDArray[np.object_]
    """str, version of the predictor that made the last assessment; None without one."""
    published_at: Floats
    published_probability: Floats
    published_band: Codes
    """Band last published; `NO_BAND` before the first publication."""
    published_signs: NDArray[np.int16]
    """Signs of leaving last sent to the topic: bits of `signs.detectors.CODES`, and
    `publication.GONE`."""
    due_at: Floats
    """When the timer fires."""
    next_assessment_at: Floats
    """When the last assessment scheduled the next one; the timer may fire before."""
    grouped: Flags
    """Whether other ids are part of this customer (docs/identity.md)."""


@dataclass(slots=True)
class NewAssessments(Columns):
    """New assessments, at most one of each customer; immutable once made."""

    row: Ints
    """Index of the customer in `BatchEffects.customers`."""
    revision: Ints
    assessed_at: Floats
    """Unix seconds UTC, to the microsecond, as `next_assessment_at`."""
    probability: Floats
    band: Codes
    next_assessment_at: Floats
    features: Floats
    """float64[n, F]."""
    published_signs: NDArray[np.int16]
    """Signs last sent to the risk topic, as in `LoadedRows`."""
    value_at_risk: Floats
    """Money expected within the horizon, times the lapse probability; reporting currency."""
    published: Flags
    """Whether the assessment is published to the risk topic: something material changed."""
    message: NDArray[np.object_]
    """bytes, the risk message; None where the assessment is not published."""
    horizons: NDArray[np.object_]
    """bytes: P(no purchase) over each horizon (`core.risk.horizons.pack`)."""


@dataclass(slots=True)
class AssessedRows(Columns):
    """Results of all assessments of a batch, stored or not (the current one may still hold)."""

    probability: Floats
    band: Codes


@dataclass(slots=True)
class BatchEffects:
    """Everything that one transaction writes."""

    events: EventRows
    """New events only."""
    customers: Sequence[str]
    """Customers concerned; those touched by events come first."""
    partition: Sequence[int]
    """Partition under which each customer is written."""
    stored: Flags
    """Whether a state of the customer is stored."""
    timer: Floats
    """float64[n], Unix seconds UTC: each timer as read; NaN without one."""
    states: NDArray[np.void]
    """New STATE of each touched customer, in the order of `customers`."""
    due_at: Floats
    """float64[n], Unix seconds UTC: new time of the timer; NaN: the timer stays as it is."""
    assessments: NewAssessments
    predictor: Predictor
    messages: list[Message]
    moves: list[Move]
    recorded_at: datetime
    assessed: AssessedRows = field(default_factory=partial(AssessedRows.nothing, 0))
    own_states: Mapping[str, bytes] = field(default_factory=dict)
    """New states of what came with each id alone, of customers with several ids."""
    repeated: EventRows = field(default_factory=EventRows)
    """Events that count in those only: another id of the customer had sent them before."""
    quality: Mapping[str, int] = field(default_factory=dict)
    """Number of assessed customers with each quality flag."""


@dataclass(frozen=True, slots=True)
class PublishedAssessment:
    """Published assessment with all that it was made from."""

    customer_id: str
    revision: int
    probability: float
    model_version: str
    feature_set: int
    horizon_days: int
    features: bytes
    """Little-endian float64, in the order of the feature set."""
    horizons: bytes | None
    """As in `NewAssessments`; None in assessments made before horizons were stored."""
    message: bytes
    """Risk message as sent."""


@dataclass(slots=True)
class LoadedClassification(Before):
    """Stored classifications of some customers, in their order; times are NaN where none is stored.

    With them come the grade that a person has set, whether it has expired or not, the announced
    absence and the profile."""

    override_until: Floats
    """End of that grade."""
    away_from: Floats
    """Start of the announced absence."""
    away_until: Floats
    """End of the announced absence."""
    profile: NDArray[np.object_]
    """tuple[datetime, str, Profile]: time of the change, event id, profile; or None."""


class ClassificationStore(Protocol):
    """Access to classifications within a batch's transaction."""

    async def load(self, work: UnitOfWork, customers: Sequence[str]) -> LoadedClassification: ...
    async def write(
        self, work: UnitOfWork, rows: ClassificationRows, changes: Sequence[CustomerChanged]
    ) -> None: ...


@dataclass(frozen=True, slots=True)
class Due:
    """Customers with a fired timer; all columns have their order."""

    customers: list[str]
    partition: Ints
    at: Floats
    """Times of their timers, Unix seconds UTC."""
    more: bool
    """Other customers may be due, which are left for another batch."""

    def __len__(self) -> int:
        return len(self.customers)

    @classmethod
    def none(cls) -> "Due":
        """Returns no due customers."""
        return cls([], np.zeros(0, np.int64), np.zeros(0), more=False)


class Store(Protocol):
    """Access to scoring's tables within one open transaction."""

    def open(self) -> AbstractAsyncContextManager[UnitOfWork]: ...
    async def known(self, work: UnitOfWork, events: EventRows) -> dict[int, bytes]: ...
    async def redirects(
        self, work: UnitOfWork, ids: Collection[str], forwarded: Collection[str]
    ) -> dict[str, str]: ...
    async def own_states(self, work: UnitOfWork, ids: Collection[str]) -> dict[str, bytes]: ...
    async def own_keys(self, work: UnitOfWork, events: EventRows) -> dict[int, bytes | None]: ...
    def drop(self, customers: Iterable[str]) -> None: ...

    async def due(
        self,
        work: UnitOfWork,
        nows: dict[int, datetime],
        limit: int,
        *,
        avoid: Sequence[str] = (),
        only: Sequence[str] = (),
    ) -> Due:
        """Reads due customers without `avoid`, and only those of `only` where it is not empty."""
        ...

    async def load(self, work: UnitOfWork, customers: Sequence[str], due_at: Floats) -> LoadedRows:
        """Reads the stored columns of `customers`, in their order.

        `due_at` are their timers, Unix seconds UTC; NaN where the timer must be read as well."""
        ...

    async def add_history(
        self, work: UnitOfWork, events: EventRows, recorded_at: datetime
    ) -> None: ...
    async def write(self, work: UnitOfWork, effects: BatchEffects) -> list[Pending]: ...


class Decode(Protocol):
    """Decodes a batch into columns and the part of each partition."""

    def __call__(self, batch: Batch, wall: datetime) -> tuple[EventRows, list[PartitionBatch]]: ...
    def same_id(self, record: ConsumedRecord) -> Message: ...
