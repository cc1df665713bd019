"""Two workers on two partitions of one log, with real tables, crashes and take-overs.

Messages that scoring sends to the activity topic are appended to the log, as Kafka would.
"""

import random
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial

import msgspec
import numpy as np
from numpy.typing import NDArray
from sqlalchemy.ext.asyncio import AsyncEngine

from services.scoring.core.features.decode import columns_of, kind_of
from services.scoring.core.features.fold import fold
from services.scoring.core.features.state import empty
from services.scoring.handlers.link_customers import LinkCustomers
from services.scoring.inbound.activity import ActivityDecoder
from services.scoring.store.customer_cache import CachingClassifications, CachingStore
from services.scoring.store.identity import IdentityTables
from services.scoring.store.tables import SCHEMA
from shared.contracts import changes, events
from shared.contracts.activity import DECODER, Activity, ActivityData
from shared.contracts.changes import CustomerChanged
from shared.contracts.events import Identity
from shared.kafka.producer import Producer, Record
from shared.kafka.relay import Relay
from shared.kafka.transaction import BatchTransactions
from shared.kernel.errors import Transient
from shared.postgres.engine import UnitOfWork
from shared.postgres.ledger import Claim, Fenced, Ledger
from shared.postgres.ledger import TopicPartition as Tp
from shared.postgres.outbox import Message, Outbox, Pending
from tests.fakes import activity
from tests.fakes.activity import day
from tests.fakes.generated_history import assert_stored
from tests.fakes.log import MemoryLog
from tests.fakes.scoring_worker import CHANGES, DEAD, RISK, TOPIC, ScoringWorker
from tests.integration.scoring.postgres import PostgresStore, table

PARTITIONS = 2
TURNS_MAX = 3_000
"""Batches until everything is consumed: more means that events are sent round and round."""


def home(customer: str, partitions: int = PARTITIONS) -> int:
    """Return the partition of an id, by a stable hash as of Kafka's producers."""
    return zlib.crc32(customer.encode()) % partitions


class Crash(BaseException):
    """The process dies here; nothing may catch it."""


@dataclass(slots=True)
class Faults:
    """Where the next crash happens: countdown of steps at which one may."""

    left: int | None = None

    def step(self) -> None:
        """Pass a point at which a process may die."""
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                self.left = None
                raise Crash


class _Kafka(Producer):
    def __init__(self, cluster: "Cluster", faults: Faults) -> None:
        self._cluster, self._faults = cluster, faults

    async def send(self, records: Iterable[Record]) -> None:
        self._faults.step()
        for record in records:
            self._cluster.take(record)
        self._faults.step()

    async def close(self) -> None:
        pass


class _Sender:
    """The real relay, as `Sending` of the fake worker."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self.sent: list[Message] = []

    async def forget(self, work: UnitOfWork) -> None:
        await self._relay.forget(work)

    async def flush(self, pending: list[Pending]) -> None:
        await self._relay.flush(pending)

    async def recover(self, claim: Claim) -> None:
        await self._relay.recover(claim)


class _Tables(IdentityTables):
    """The real statements, with points at which a process may die."""

    def __init__(self, work: UnitOfWork, faults: Faults) -> None:
        super().__init__(work)
        self._faults = faults

    async def join(self, *args: object, **kwargs: object) -> None:
        self._faults.step()
        await IdentityTables.join(self, *args, **kwargs)  # type: ignore[arg-type]
        self._faults.step()

    async def decide(self, *args: object, **kwargs: object) -> None:
        await IdentityTables.decide(self, *args, **kwargs)  # type: ignore[arg-type]
        self._faults.step()


class CachedStore(CachingStore):
    """The cache before the real store, as `Claiming` of the fake worker."""

    def __init__(self, engine: AsyncEngine, faults: Faults) -> None:
        self.inner = PostgresStore(engine)
        super().__init__(self.inner, 1_000)
        self.standings = CachingClassifications(self.inner.standings, self)
        self._faults = faults

    async def take_over(self, tp: Tp) -> Claim:
        self.forget()
        return await self.inner.take_over(tp)

    async def write(self, *args: object) -> list[Pending]:
        found = await CachingStore.write(self, *args)  # type: ignore[arg-type]
        self._faults.step()
        return found


@dataclass(slots=True)
class Cluster:
    """The log, the workers, and who owns which partition."""

    engine: AsyncEngine
    log: MemoryLog = field(default_factory=lambda: MemoryLog(TOPIC))
    faults: Faults = field(default_factory=Faults)
    sent: list[Record] = field(default_factory=list)
    """What went to other topics, in order."""
    workers: list[ScoringWorker] = field(default_factory=list)
    crashes: int = 0
    """Processes that died."""
    numbers: int = 0
    partitions: int = 0

    def __post_init__(self) -> None:
        self.grow(PARTITIONS)

    def grow(self, partitions: int) -> None:
        """Add partitions: ids get other homes, and what was sent stays where it is."""
        for partition in range(self.partitions, partitions):
            self.log.records[TOPIC, partition]
            self.workers.append(self._worker())
        self.partitions = partitions

    def home(self, customer: str) -> int:
        """Return the partition of an id as of now."""
        return home(customer, self.partitions)

    def _worker(self) -> ScoringWorker:
        store = CachedStore(self.engine, self.faults)
        outbox = Outbox(SCHEMA)
        relay = Relay(self.engine, outbox, _Kafka(self, self.faults))
        sender = _Sender(relay)
        made = ScoringWorker(store, sender, log=self.log)  # type: ignore[arg-type]
        made.link = LinkCustomers(
            transactions=BatchTransactions(
                engine=self.engine,
                ledger=Ledger(self.engine, SCHEMA),
                outbox=outbox,
                relay=relay,
            ),
            tables=partial(_Tables, faults=self.faults),
            refuse=ActivityDecoder(DEAD, replay=False).dead_letter,
            clock=made.clock,
            risk_topic=RISK,
            changes_topic=CHANGES,
        )
        made.__post_init__()
        made.clock.at = day(40)
        return made

    def take(self, record: Record) -> None:
        """Append a record of the activity topic to its partition; keep any other."""
        if record.topic == TOPIC:
            key = record.key or b""
            self.log.append(self.home(key.decode()), record.value, key=key)
        else:
            self.sent.append(record)

    def buys(self, customer: str, at: float, name: str | None = None, amount: float = 10.0) -> str:
        """Append a purchase; return the id of its event."""
        self.numbers += 1
        name = name or f"e{self.numbers}"
        value = activity.event(name, customer, day(at), data=ActivityData(amount=amount))
        self.log.append(self.home(customer), value, key=customer.encode())
        return name

    def profile(self, customer: str, at: float, **facts: object) -> None:
        """Append a profile."""
        self.numbers += 1
        value = activity.profile(f"p{self.numbers}", customer, day(at), **facts)  # type: ignore[arg-type]
        self.log.append(self.home(customer), value, key=customer.encode())

    def says(self, subject: str, *ids: str, name: str | None = None, **what: object) -> None:
        """Append a statement about ids."""
        self.numbers += 1
        data = ActivityData(identity=Identity(ids=[*ids], **what))  # type: ignore[arg-type]
        name = name or f"s{self.numbers}"
        value = activity.event(name, subject, day(30), kind=events.IDENTITY, data=data)
        self.log.append(self.home(subject), value, key=subject.encode())

    async def claim(self, worker: int, partition: int) -> None:
        """Let a worker take a partition over, as at a rebalance; its former owner is not told."""
        made = self.workers[worker]
        claim = await made.store.take_over((TOPIC, partition))
        await made.sender.recover(claim)  # type: ignore[attr-defined]
        made.claims[TOPIC, partition] = claim

    async def turn(self, worker: int, count: int = 1_000) -> None:
        """Let a worker process one batch; a crash, or lost partitions, end in a take-over."""
        made = self.workers[worker]
        if not made.claims:
            return
        try:
            await made.turn(count)
        except Fenced as fenced:
            for tp in fenced.lost:
                made.claims.pop(tp, None)
            made.store.forget()  # type: ignore[attr-defined]
        except Transient:
            await self._again(worker)
        except Crash:
            self.crashes += 1
            await self._again(worker, anew=True)

    async def _again(self, worker: int, *, anew: bool = False) -> None:
        owned = [tp[1] for tp in self.workers[worker].claims]
        if anew:
            self.workers[worker] = self._worker()
        self.workers[worker].claims.clear()
        for partition in owned:
            await self.claim(worker, partition)

    async def drain(self) -> None:
        """Process everything, each partition by its own worker, the silence sweep included."""
        self.faults.left = None
        for partition in range(self.partitions):
            await self.claim(partition, partition)
        for _ in range(TURNS_MAX):
            for worker in range(self.partitions):
                self.workers[worker].clock.seconds += 1
                await self.turn(worker)
            if all(
                (claim := self.workers[tp[1]].claims.get(tp)) is not None
                and (claim.next_offset or 0) >= len(records)
                for tp, records in self.log.records.items()
            ):
                break
        else:
            raise AssertionError("not drained: events go round and round")
        for worker in range(self.partitions):  # what the last batches made due
            self.workers[worker].clock.seconds += 1
            await self.turn(worker)

    async def play(self, source: random.Random, steps: int) -> None:
        """Process batches of random sizes with crashes and take-overs in between."""
        for partition in range(self.partitions):
            await self.claim(partition, partition)
        for _ in range(steps):
            worker = source.randrange(self.partitions)
            if source.random() < 0.3:
                self.faults.left = source.randrange(6)
            if source.random() < 0.1:
                await self._safely(worker, source.randrange(self.partitions))
            await self.turn(worker, source.randint(1, 6))

    async def _safely(self, worker: int, partition: int) -> None:
        try:
            await self.claim(worker, partition)
        except Crash:
            self.crashes += 1
            await self._again(worker, anew=True)

    @property
    def told(self) -> list[CustomerChanged]:
        """The messages about customers that became one or came apart."""
        found = (
            msgspec.json.decode(r.value or b"", type=CustomerChanged)
            for r in self.sent
            if r.topic == CHANGES
        )
        return [c for c in found if c.kind in changes.IdentityKind.__args__]  # type: ignore[attr-defined]


def state_of(happened: list[Activity]) -> NDArray[np.void]:
    """Fold events, each once by (source, id), as one customer's."""
    once = list({(a.source, a.id): a for a in reversed(happened)}.values())
    kinds = [kind_of(a) for a in once]
    changing = [(a, kind) for a, kind in zip(once, kinds, strict=True) if kind]
    columns = columns_of([a for a, _ in changing], [k for _, k in changing], [0] * len(changing))
    return fold(empty(1), columns)


async def customers(engine: AsyncEngine) -> dict[str, bytes]:
    """Return the states of all who are customers: not of ids that are part of another."""
    rows = await table(engine, "customer_state")
    return {row["customer_id"]: row["state"] for row in rows if row["partition"] >= 0}


def sent(cluster: Cluster) -> dict[str, list[Activity]]:
    """Return the events of the log by the id that they came with; those sent on are left out."""
    found: dict[str, list[Activity]] = {}
    for records in cluster.log.records.values():
        for record in records:
            one = DECODER.decode(record.value or b"")
            if one.originalsubject is None:
                found.setdefault(one.subject, []).append(one)
    return found


def expected(cluster: Cluster, *groups: tuple[str, ...]) -> dict[str, NDArray[np.void]]:
    """Return the state of each customer; of each group the first id is the primary one."""
    by_id = sent(cluster)
    made = {g[0]: state_of([e for i in g for e in by_id.get(i, [])]) for g in groups}
    grouped = {i for g in groups for i in g}
    return made | {i: state_of(events) for i, events in by_id.items() if i not in grouped}


async def assert_customers(
    cluster: Cluster, *groups: tuple[str, ...], also: tuple[str, ...] = ()
) -> None:
    """Assert that these groups, and everybody else alone, have the states of their events."""
    want = expected(cluster, *groups) | {i: empty(1) for i in also}
    assert_stored(await customers(cluster.engine), want)
