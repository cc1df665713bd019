"""Common parts of the sections: events, topics, a meter, and scoring's batch on a database."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy.ext.asyncio import AsyncEngine

from deploy.local import topics as creating
from deploy.local.stack import DATA, LocalStack
from services.scoring.commands.service import SPEC
from services.scoring.core.value.classify import Valuation
from services.scoring.handlers.assess_customers import Assessor
from services.scoring.handlers.classify_customers import ClassificationTables
from services.scoring.handlers.link_customers import LinkCustomers
from services.scoring.handlers.micro_batch import MicroBatch
from services.scoring.inbound.activity import ActivityDecoder
from services.scoring.model.rule_model import RuleModel
from services.scoring.ports import ClassificationStore, Store
from services.scoring.settings import ScoringSettings
from services.scoring.store.batch import BatchStore
from services.scoring.store.classification import ClassificationTable
from services.scoring.store.customer_cache import CachingClassifications, CachingStore
from services.scoring.store.identity import IdentityTables
from shared.contracts import topics
from shared.contracts.activity import ENCODER, Activity, ActivityData
from shared.contracts.dead_letter import Headers
from shared.contracts.events import PURCHASE
from shared.contracts.topics import Topic
from shared.kafka.producer import Producer, Record
from shared.kafka.relay import Relay
from shared.kafka.settings import KafkaSettings
from shared.kafka.transaction import BatchTransactions
from shared.kernel.arrays import Ints
from shared.postgres.engine import create_engine
from shared.postgres.ledger import Claim, Ledger
from shared.postgres.migrations import migrate
from shared.postgres.outbox import Outbox
from shared.postgres.settings import PostgresSettings
from shared.postgres.suspects import Suspects
from shared.runtime.clock import SystemClock
from shared.runtime.gc_tuning import spare_collector
from shared.runtime.isolation import ItemIsolation
from tests.fakes.scoring_worker import keep_all, leave_none_out

SCALE = float(os.environ.get("EBBWATCH_BENCH_SCALE", "1"))
"""Multiplies the number of events: 0.1 gives a first idea in a tenth of the time."""

CUSTOMERS = 100_000
BATCH = 2_000
BEGIN = datetime.now(UTC) - timedelta(days=5)
"""Time of the first event; the others follow a second apart, so that no customer is long gone."""
Figures = dict[str, Any]


def scaled(events: int) -> int:
    """Returns the number of events at `SCALE`, in whole batches."""
    return max(1, round(events * SCALE / BATCH)) * BATCH


def uniform(events: int, customers: int = CUSTOMERS) -> Ints:
    """Draws the customer of each event uniformly."""
    return np.random.default_rng(1).integers(0, customers, events)


def zipf(events: int, customers: int = CUSTOMERS) -> Ints:
    """Draws the customer of each event by Zipf's law: a few very often (exponent 0.9)."""
    weight = 1 / np.arange(1, customers + 1) ** 0.9
    return np.random.default_rng(1).choice(customers, events, p=weight / weight.sum())


def purchase(i: int, customer: int, received_ms: int) -> bytes:
    """Returns the canonical event as ingest writes it."""
    data = ActivityData(
        amount=23.45, original_amount="23.45", currency="USD", channel="online",
        category=f"category-{i % 30}", items=3, order_id=f"order-{i}",
    )  # fmt: skip
    return ENCODER.encode(
        Activity(
            specversion="1.0",
            id=f"order-{i}",
            source="bench",
            type=PURCHASE,
            time=BEGIN + timedelta(seconds=i),
            subject=f"customer-{customer}",
            contenthash=f"{i:032x}",
            receivedms=received_ms,
            data=data,
        )
    )


async def make_topics(kafka: KafkaSettings, section: str) -> Sequence[Topic]:
    """Creates raw, activity, risk and dead-letter topics for this section alone."""
    made = [
        replace(topic, name=f"bench-{section}-{topic.name}")
        for topic in (topics.RAW, topics.ACTIVITY, topics.RISK, topics.DEAD_LETTER)
    ]
    await creating.create(kafka, tuple(made))
    return made


async def preload(
    producer: Producer,
    topic: str,
    messages: Iterable[tuple[bytes, bytes]],
    headers: Callable[[int], Headers] = lambda _: (),
) -> None:
    """Writes (key, value) pairs, some thousands at a time; `headers`: by number, from 0."""
    waiting: list[Record] = []
    for number, (key, value) in enumerate(messages):
        waiting.append(Record(topic, key, value, headers(number)))
        if len(waiting) == BATCH:
            await producer.send(waiting)
            waiting = []
    await producer.send(waiting)


def activity(customers: Ints, first: int = 0) -> Iterator[tuple[bytes, bytes]]:
    """Yields canonical purchases of these customers, as (key, value)."""
    now_ms = int(time.time() * 1000)
    for i, customer in enumerate(customers.tolist(), first):
        yield f"customer-{customer}".encode(), purchase(i, customer, now_ms)


@dataclass(slots=True)
class Meter:
    """Wall time, CPU time and peak memory between `start` and `stop`."""

    database: str = ""
    """Name of the database; its server processes are counted."""
    seconds: float = 0.0
    cpu_s: float = 0.0
    postgres_cpu_s: float = 0.0
    rss_mb: float = 0.0

    def start(self) -> None:
        """Start measuring; resets the peak."""
        Path("/proc/self/clear_refs").write_text("5")
        self.postgres_cpu_s = -_postgres_cpu_s(self.database)
        self.cpu_s = -time.process_time()
        self.seconds = -time.perf_counter()

    def stop(self) -> None:
        """Stop measuring; call it while the sessions are still open."""
        self.seconds += time.perf_counter()
        self.cpu_s += time.process_time()
        self.postgres_cpu_s += _postgres_cpu_s(self.database)
        peak = Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]
        self.rss_mb = int(peak) / 1024

    def figures(self, what: str, count: int) -> Figures:
        """Return `what`_per_s and the time and memory used."""
        return {
            f"{what}_per_s": count / self.seconds,
            "cpu_us_each": self.cpu_s / count * 1e6,
            "postgres_cpu_us_each": self.postgres_cpu_s / count * 1e6,
            "rss_mb": self.rss_mb,
        }


def _postgres_cpu_s(database: str) -> float:
    """Returns CPU seconds of this database's server processes; 0 where it runs elsewhere."""
    total = 0
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if database and database in (process / "cmdline").read_text():
                fields = (process / "stat").read_text().rpartition(")")[2].split()
                total += int(fields[11]) + int(fields[12])
        except (FileNotFoundError, ProcessLookupError):
            continue
    return total / os.sysconf("SC_CLK_TCK")


@dataclass(slots=True)
class Scoring:
    """Scoring's batch handler with everything around it real, on its own database."""

    engine: AsyncEngine
    ledger: Ledger
    lanes: Sequence[MicroBatch]
    database: str
    claims: dict[tuple[str, int], Claim] = field(default_factory=dict)

    @property
    def turn(self) -> MicroBatch:
        """The handler of the first lane."""
        return self.lanes[0]

    async def claim(self, topic: str, partitions: int) -> None:
        """Claim the partitions of a topic that need not exist."""
        for n in range(partitions):
            self.claims[topic, n] = await self.ledger.take_over((topic, n), "bench")


def _link(
    engine: AsyncEngine,
    ledger: Ledger,
    outbox: Outbox,
    relay: Relay,
    decode: ActivityDecoder,
    topic: str,
) -> LinkCustomers:
    return LinkCustomers(
        transactions=BatchTransactions(engine=engine, ledger=ledger, outbox=outbox, relay=relay),
        tables=IdentityTables,
        refuse=decode.dead_letter,
        clock=SystemClock(),
        risk_topic=topic,
        changes_topic=topic,
    )


async def _nothing() -> None:
    pass


@asynccontextmanager
async def scoring(
    stack: LocalStack,
    name: str,
    risk: str,
    *,
    store: Callable[[AsyncEngine, Ledger, Outbox], Store] | None = None,
    sweep_interval_s: float = 86_400.0,
    sweep_customers_max: int = BATCH,
    lanes: int = 1,
) -> AsyncIterator[Scoring]:
    """Creates an empty database with scoring's tables, and handlers on it, as `main` does."""
    spare_collector()
    database = f"ebbwatch_bench_{name}"
    engine = create_engine(PostgresSettings(url=stack.postgres.fresh(database)), "bench")
    await migrate(engine, SPEC.schema, SPEC.versions)
    ledger, outbox = Ledger(engine, SPEC.schema), Outbox(SPEC.schema)
    rule, settings = RuleModel(28), ScoringSettings()
    kept = settings.cache_customers_max // lanes
    make = store or (lambda *parts: CachingStore(BatchStore(*parts), kept))
    relays = [Relay(engine, outbox, Producer(stack.kafka.settings, "bench")) for _ in range(lanes)]
    careful = ItemIsolation(Suspects(engine, SPEC.schema), SystemClock(), lambda _: None)

    def lane(relay: Relay) -> MicroBatch:
        tables = make(engine, ledger, outbox)
        standings: ClassificationStore = ClassificationTable()
        if isinstance(tables, CachingStore):
            standings = CachingClassifications(standings, tables)
        decode = ActivityDecoder("dead-letter", replay=False)
        return MicroBatch(
            decode=decode,
            store=tables,
            sender=relay,
            classifications=ClassificationTables(standings, Valuation, risk),
            assessor=Assessor(
                risk_topic=risk,
                thresholds=settings.band_thresholds,
                reasons_max=settings.reasons_max,
                currency="USD",
                also_horizons_days=settings.also_horizons_days,
            ),
            predictor=lambda: rule,
            clock=SystemClock(),
            sweep_customers_max=sweep_customers_max,
            sweep_interval_s=sweep_interval_s,
            observe=lambda *_: None,
            isolation=careful,
            blameless=_nothing,
            link=_link(engine, ledger, outbox, relay, decode, risk),
            without_erased=keep_all,
            leave_out=leave_none_out,
        )

    try:
        yield Scoring(engine, ledger, [lane(relay) for relay in relays], database)
    finally:
        for relay in relays:
            await relay.close()
        await engine.dispose()
        stack.postgres.drop(database)


def run(section: Callable[[LocalStack], Coroutine[Any, Any, Figures]]) -> Figures:
    """Runs a section on its own stack."""
    with LocalStack(DATA / "bench", wipe=True) as stack:
        return {"broker": stack.broker, **asyncio.run(section(stack))}
