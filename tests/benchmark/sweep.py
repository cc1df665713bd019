"""Section `sweep`: silent customers assessed, states read from PostgreSQL, timers re-armed."""

import asyncio
import time
from datetime import UTC, datetime

import numpy as np

from deploy.local.stack import LocalStack
from services.scoring.core.features.events import DAY_S, EventColumns, Kind
from services.scoring.core.features.fold import fold
from services.scoring.core.features.state import FEATURE_SET, empty, to_bytes
from services.scoring.handlers.micro_batch import MicroBatch
from services.scoring.settings import ScoringSettings
from shared.contracts import topics
from shared.kafka.batch import Batch
from shared.postgres.engine import unit_of_work
from tests.benchmark import common
from tests.benchmark.common import Figures, Meter, Scoring

CUSTOMERS = 60_000
PURCHASES = 12
GAP_DAYS = 1.0
LATE_SHARE = 0.01
"""Share of customers who are so late that every assessment of them is published."""
TOPIC = "bench-sweep"


async def sweep(stack: LocalStack) -> Figures:
    """Returns customers assessed per second at the second assessment, when 1 % of them are
    published."""
    count = common.scaled(CUSTOMERS)
    _, _, risk, _ = await common.make_topics(stack.kafka.settings, "sweep")
    settings = ScoringSettings()
    async with common.scoring(
        stack,
        "sweep",
        risk.name,
        sweep_interval_s=0.0,
        sweep_customers_max=settings.sweep_customers_max,
        lanes=settings.lanes,
    ) as worker:
        await worker.claim(TOPIC, topics.ACTIVITY.partitions)
        await _store(worker, count)
        await _look(worker)
        async with unit_of_work(worker.engine) as work:
            # As if the first assessment had been long ago. Not 'epoch', which means that an import
            # has touched them.
            await work.driver.execute("UPDATE scoring.timer SET due_at = now()")
            await work.driver.execute(
                "UPDATE scoring.customer_state "
                "SET published_at = published_at - interval '14 days', look_at = now()"
            )
            before = await work.driver.fetchval("SELECT count(*) FROM scoring.assessment_history")
        async with worker.engine.connect() as connection:
            await connection.exec_driver_sql("SELECT 1")
        meter = Meter(worker.database)
        meter.start()
        await _look(worker)
        meter.stop()
        async with unit_of_work(worker.engine) as work:
            after = await work.driver.fetchval("SELECT count(*) FROM scoring.assessment_history")
            waiting = await work.driver.fetchval(
                "SELECT count(*) FROM scoring.timer WHERE due_at <= now()"
            )
    if waiting:
        raise AssertionError(f"{waiting} timers were left behind")
    return {**meter.figures("customers", count), "news_share": (after - before) / count}


async def _look(worker: Scoring) -> None:
    """Runs empty batches until all are assessed: each lane with its share of the partitions."""

    async def look(number: int, turn: MicroBatch) -> None:
        ours = {tp: c for tp, c in worker.claims.items() if tp[1] % len(worker.lanes) == number}
        while moves := await turn(Batch(ours, {}, dict.fromkeys(ours, 0))):
            for move in moves:
                ours[move.claim.tp] = move.done()
        worker.claims.update(ours)

    await asyncio.gather(*(look(n, turn) for n, turn in enumerate(worker.lanes)))


async def _store(worker: Scoring, count: int) -> None:
    """Stores daily buyers, most of them with a recent purchase, with every timer due."""
    draw = np.random.default_rng(1)
    silence = draw.uniform(0, 2, count)
    late = draw.random(count) < LATE_SHARE
    silence[late] = draw.uniform(24, 27, late.sum())
    last = time.time() - silence * DAY_S
    day = np.arange(PURCHASES) * GAP_DAYS
    n = count * PURCHASES
    events = EventColumns(
        row=np.repeat(np.arange(count), PURCHASES),
        kind=np.full(n, Kind.PURCHASE, np.uint8),
        time=(last[:, None] - day * DAY_S).ravel(),
        amount=np.round(draw.gamma(2, 20, n), 2),
        score=np.full(n, np.nan),
        key=np.zeros(n, np.uint64),
        category=draw.integers(1, 30, n).astype(np.uint64),
        cost=np.full(n, np.nan),
        channel=np.ones(n, np.uint8),
    )
    packed = to_bytes(fold(empty(count), events))
    due = datetime.fromtimestamp(0, UTC)
    partitions = topics.ACTIVITY.partitions
    async with unit_of_work(worker.engine) as work:
        await work.driver.copy_records_to_table(
            "customer_state",
            schema_name="scoring",
            columns=["customer_id", "partition", "feature_set", "state"],
            records=(
                (f"customer-{i}", i % partitions, FEATURE_SET, state)
                for i, state in enumerate(packed)
            ),
        )
        await work.driver.copy_records_to_table(
            "timer",
            schema_name="scoring",
            columns=["customer_id", "partition", "due_at"],
            records=((f"customer-{i}", i % partitions, due) for i in range(count)),
        )
        await work.driver.execute("ANALYZE scoring.timer")
