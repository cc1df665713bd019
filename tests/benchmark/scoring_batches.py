"""Section `scoring`: batches, exactly once into PostgreSQL, compared with PostgreSQL's part alone.

The ceiling is the very same transactions once more: every statement with its arguments, every COPY
with its bytes ready, in the same order and with the same commits, and nothing else.
"""

import asyncio
import io
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
from sqlalchemy.ext.asyncio import AsyncEngine

from deploy.local.stack import LocalStack
from services.scoring.handlers.micro_batch import MicroBatch
from services.scoring.settings import ScoringSettings
from services.scoring.store.batch import BatchStore
from services.scoring.store.customer_cache import CachingStore
from shared.contracts import topics
from shared.contracts.dead_letter import Headers
from shared.kafka.batch import Batch
from shared.kafka.fenced import FencedConsumer
from shared.kafka.producer import Producer
from shared.kafka.worker import traced
from shared.kernel.arrays import Ints
from shared.postgres.engine import Driver, UnitOfWork
from shared.postgres.ledger import Ledger
from shared.postgres.outbox import Outbox
from tests.benchmark import common
from tests.benchmark.common import BATCH, CUSTOMERS, Figures, Meter

EVENTS = 200_000
JOIN_S_MAX = 60.0
"""Longest wait until a group has assigned its partitions."""


@dataclass(frozen=True, slots=True)
class Step:
    """One call of the driver: a statement, or a COPY of `data` into `what`."""

    method: str
    what: str
    arguments: tuple[Any, ...] = ()
    schema: str | None = None
    columns: Sequence[str] | None = None
    data: bytes = b""


class Recorder:
    """Wraps the driver and records its calls."""

    def __init__(self, driver: Driver, steps: list[Step]) -> None:
        self._driver = driver
        self._steps = steps

    async def execute(self, query: str, *arguments: Any) -> str:
        """Record the call and make it."""
        self._steps.append(Step("execute", query, arguments))
        return str(await self._driver.execute(query, *arguments))

    async def fetch(self, query: str, *arguments: Any) -> list[Any]:
        """Record the call and make it."""
        self._steps.append(Step("fetch", query, arguments))
        return list(await self._driver.fetch(query, *arguments))

    async def copy_records_to_table(
        self,
        table: str,
        *,
        records: Iterable[Any],
        schema_name: str | None = None,
        columns: Sequence[str] | None = None,
    ) -> None:
        """Record the call with the bytes that PostgreSQL makes of the rows."""
        rows, driver = list(records), self._driver
        await driver.copy_records_to_table(
            table, records=rows, schema_name=schema_name, columns=columns
        )
        mirror = table
        if schema_name is not None:
            mirror, wanted = f"r_{table}", ", ".join(columns or ("*",))
            await driver.execute(
                f"CREATE TEMP TABLE {mirror} ON COMMIT DROP AS "  # noqa: S608 (names of ours)
                f"SELECT {wanted} FROM {schema_name}.{table} WITH NO DATA"
            )
            await driver.copy_records_to_table(mirror, records=rows)
        data = io.BytesIO()
        await driver.copy_from_query(f"TABLE {mirror}", output=data, format="binary")
        self._steps.append(Step("copy", table, (), schema_name, columns, data.getvalue()))

    async def copy_to_table(
        self,
        table: str,
        *,
        source: Any,
        schema_name: str | None,
        columns: Sequence[str],
        format: Literal["binary"],  # noqa: A002 (asyncpg's name)
    ) -> None:
        """Record the call unchanged."""
        await self._driver.copy_to_table(
            table, source=source, schema_name=schema_name, columns=columns, format=format
        )
        self._steps.append(Step("copy", table, (), schema_name, columns, bytes(source)))


class RecordingStore(BatchStore):
    """Scoring's tables, recording each transaction."""

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self.transactions: list[list[Step]] = []

    @asynccontextmanager
    async def open(self) -> AsyncIterator[UnitOfWork]:
        """Open one transaction."""
        steps: list[Step] = []
        async with super().open() as work:
            yield UnitOfWork(work.connection, cast("Driver", Recorder(work.driver, steps)))
        self.transactions.append(steps)


async def scoring(stack: LocalStack) -> Figures:
    """Measures a preloaded topic, customers drawn uniformly and by zipf, and the ceiling.

    Every customer's first event comes first and is reported separately: a first assessment is
    always published.
    """
    run = Run(common.scaled(CUSTOMERS), common.scaled(EVENTS))
    _, activity, risk, _ = await common.make_topics(stack.kafka.settings, "scoring")
    await preload(stack, activity.name, run.draws(common.uniform(run.events, run.customers)))
    first, known = await drain(stack, activity.name, risk.name, run)
    transactions, warm = await _record(stack, activity.name, risk.name, run)
    first_s, known_s = await _repeat(stack, transactions, warm, activity.name)
    figures = known.figures("events", run.events)
    ceiling = {
        "pg_transaction_per_s": run.events / known_s,
        "pg_first_transaction_per_s": run.customers / first_s,
    }
    figures["ratio"] = known_s / known.seconds
    figures["first"] = first.figures("events", run.customers)
    figures["first"]["ratio"] = first_s / first.seconds

    _, skewed, risk, _ = await common.make_topics(stack.kafka.settings, "scoring-zipf")
    await preload(stack, skewed.name, run.draws(common.zipf(run.events, run.customers)))
    _, known = await drain(stack, skewed.name, risk.name, run)
    figures["zipf"] = known.figures("events", run.events)
    return {**figures, "customers": run.customers, "ceiling": ceiling}


@dataclass(frozen=True, slots=True)
class Run:
    """The size: `customers` first events, then `events` of known customers."""

    customers: int
    events: int

    def draws(self, drawn: Ints) -> Ints:
        """Return the customer of each event."""
        return np.concatenate([np.arange(self.customers), drawn])


async def preload(
    stack: LocalStack,
    topic: str,
    customers: Ints,
    headers: Callable[[int], Headers] = lambda _: (),
) -> None:
    """Writes an event of each of these customers."""
    producer = Producer(stack.kafka.settings, "bench")
    await common.preload(producer, topic, common.activity(customers), headers)
    await producer.close()


async def drain(
    stack: LocalStack,
    topic: str,
    risk: str,
    run: Run,
    store: Any = None,
    warm: Callable[[], None] = lambda: None,
    group: str = "",
) -> tuple[Meter, Meter]:
    """Scores everything in the topic with its own group: the first events, and the others.

    `warm` is called between them. With a given `store` one lane scores, else as many as a service
    has.
    """
    lanes = 1 if store else ScoringSettings().lanes
    async with common.scoring(stack, "turns", risk, store=store, lanes=lanes) as worker:
        consumers = [
            FencedConsumer(
                settings=stack.kafka.settings,
                ledger=worker.ledger,
                topics=(topic,),
                group=f"{topic}-{group or ('record' if store else 'measure')}",
                worker=f"bench/{n}",
                batch_records_max=BATCH,
            )
            for n in range(lanes)
        ]
        left = await _joined(consumers)
        first, known = Meter(worker.database), Meter(worker.database)
        done = 0

        async def work(consumer: FencedConsumer, turn: MicroBatch, batch: Batch | None) -> None:
            nonlocal done
            handle = traced(turn)
            while done < run.customers + run.events:
                batch = batch or await consumer.poll()
                consumer.moved(batch, await handle(batch))
                before, done = done, done + sum(map(len, batch.records.values()))
                batch = None
                if before < run.customers <= done:
                    first.stop()
                    warm()
                    known.start()

        first.start()
        await asyncio.gather(*map(work, consumers, worker.lanes, left))
        known.stop()
        for consumer in consumers:
            await consumer.close()
    return first, known


async def _joined(consumers: Sequence[FencedConsumer]) -> list[Batch | None]:
    """Waits until the partitions are assigned for good; returns what was read on the way."""
    left: list[Batch | None] = [None] * len(consumers)
    share, more = divmod(topics.ACTIVITY.partitions, len(consumers))
    shares = {share, share + 1} if more else {share}
    for consumer in consumers:
        await consumer.start()
    async with asyncio.timeout(JOIN_S_MAX):
        while not all(left):
            for n, consumer in enumerate(consumers):
                if len(consumer.claims) not in shares:
                    left[n] = None
                left[n] = left[n] or await consumer.poll()
    return left


async def _record(
    stack: LocalStack, topic: str, risk: str, run: Run
) -> tuple[list[list[Step]], int]:
    """Returns every transaction, and how many of them were of first events."""
    kept: list[RecordingStore] = []
    warm: list[int] = []

    def remember(*parts: Any) -> CachingStore:
        kept.append(RecordingStore(*parts))
        return CachingStore(kept[0], run.customers)

    await drain(stack, topic, risk, run, remember, lambda: warm.append(len(kept[0].transactions)))
    return kept[0].transactions, warm[0]


async def _repeat(
    stack: LocalStack, transactions: Sequence[Sequence[Step]], warm: int, topic: str
) -> tuple[float, float]:
    """Returns seconds of the recorded transactions on an empty database: of first events, of
    others."""
    kept: list[BatchStore] = []

    def remember(*parts: Any) -> BatchStore:
        engine, ledger, outbox = cast("tuple[AsyncEngine, Ledger, Outbox]", parts)
        kept.append(BatchStore(engine, ledger, outbox))
        return kept[0]

    spent: list[float] = []
    async with common.scoring(stack, "repeat", "risk", store=remember) as worker:
        await worker.claim(topic, topics.ACTIVITY.partitions)
        for steps in transactions:
            began = time.perf_counter()
            async with kept[0].open() as work:
                for step in steps:
                    await _do(work.driver, step)
            spent.append(time.perf_counter() - began)
    return sum(spent[:warm]), sum(spent[warm:])


async def _do(driver: Driver, step: Step) -> None:
    if step.method == "copy":
        source = io.BytesIO(step.data)
        await driver.copy_to_table(
            step.what,
            source=source,
            schema_name=step.schema,
            columns=step.columns,
            format="binary",
        )
    else:
        await getattr(driver, step.method)(step.what, *step.arguments)
