"""Section `growth`: the cost of an event with few customers and with a million.

Batches come from memory, not from Kafka, so that only the batch handler is measured. Customers are
drawn uniformly, the worst case for a cache; the cache has its default size.
"""

import time

from deploy.local.stack import LocalStack
from shared.contracts import topics
from shared.kafka.batch import Batch, ConsumedRecord
from shared.kernel.arrays import Ints
from tests.benchmark import common
from tests.benchmark.common import BATCH, Figures, Meter
from tests.fakes.log import Consumed

EVENTS = 2_000_000
TOPIC = "bench-growth"
FEW, MANY = 10_000, 1_000_000


async def growth(stack: LocalStack) -> Figures:
    """Returns cost ratios: over all events, and over the last quarter, when most customers are
    known."""
    count = common.scaled(EVENTS)
    _, _, risk, _ = await common.make_topics(stack.kafka.settings, "growth")
    found = {n: await _cost(stack, risk.name, count, n) for n in (FEW, MANY)}
    (few, few_late, _), (many, many_late, meter) = found[FEW], found[MANY]
    return {
        "cost_ratio_1m_10k": many / few,
        "cost_ratio_1m_10k_last_quarter": many_late / few_late,
        "events_per_s_10k": 1 / few,
        "events_per_s_1m": 1 / many,
        "rss_mb_1m": meter.rss_mb,
        "events": count,
    }


async def _cost(
    stack: LocalStack, risk: str, count: int, customers: int
) -> tuple[float, float, Meter]:
    """Returns seconds per event: over all, and over the last quarter."""
    who = common.uniform(count, customers)
    parts = topics.ACTIVITY.partitions
    spent: list[float] = []
    async with common.scoring(stack, f"growth_{customers}", risk) as worker:
        await worker.claim(TOPIC, parts)
        meter = Meter(worker.database)
        meter.start()
        for first in range(0, count, BATCH):
            records = _records(who[first : first + BATCH], first, parts)
            ends = dict.fromkeys(worker.claims, count)
            batch = Batch(dict(worker.claims), records, ends)
            began = time.perf_counter()
            moves = await worker.turn(batch)
            spent.append(time.perf_counter() - began)
            for move in moves:
                worker.claims[move.claim.tp] = move.done()
        meter.stop()
    late = spent[-max(1, len(spent) // 4) :]
    return sum(spent) / count, sum(late) / (len(late) * BATCH), meter


def _records(who: Ints, first: int, partitions: int) -> dict[tuple[str, int], list[ConsumedRecord]]:
    """Builds records; a customer's partition follows from their number; offsets only grow."""
    found: dict[tuple[str, int], list[ConsumedRecord]] = {}
    for i, (_, value) in enumerate(common.activity(who, first)):
        partition = int(who[i]) % partitions
        record = Consumed(TOPIC, partition, first + i, value, timestamp=int(time.time() * 1000))
        found.setdefault((TOPIC, partition), []).append(record)
    return found
