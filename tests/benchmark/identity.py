"""Section `identity`: what a merge costs, in events of known customers, and an event sent on."""

from collections.abc import Iterable

from deploy.local.stack import LocalStack
from services.scoring.handlers.link_customers import STATEMENTS_MAX
from shared.contracts import topics
from shared.contracts.activity import ActivityData
from shared.contracts.events import IDENTITY, Identity
from tests.benchmark import common
from tests.benchmark.common import BATCH, BEGIN, Figures, Meter, Scoring
from tests.fakes import activity
from tests.fakes.log import MemoryLog, moved

PAIRS = 4_000
"""Pairs of ids that become one customer each."""
EVENTS_EACH = 10
"""Events of each id before the merge."""
PARTITIONS = topics.ACTIVITY.partitions


async def identity(stack: LocalStack) -> Figures:
    """Measures known events, merges of pairs across partitions, and events after them."""
    pairs = common.scaled(PAIRS)
    _, activity_topic, risk, _ = await common.make_topics(stack.kafka.settings, "identity")
    async with common.scoring(stack, "identity", risk.name) as worker:
        await worker.claim(activity_topic.name, PARTITIONS)
        log = MemoryLog(activity_topic.name)
        run = _Run(worker, log)
        first = [c for _ in range(EVENTS_EACH) for c in range(2 * pairs)]
        await run.measured(first)
        known = await run.measured(range(2 * pairs))
        merges = Meter(worker.database)
        merges.start()
        for start in range(0, pairs, STATEMENTS_MAX):
            for pair in range(start, min(pairs, start + STATEMENTS_MAX)):
                run.says(pair, pair + pairs)
            await run.drain()
        merges.stop()
        after = await run.measured(range(pairs))
    each = known.figures("events", 2 * pairs)
    merged = merges.figures("merges", pairs)
    survivors = after.figures("events", pairs)
    return {
        "known": each,
        "merges": merged,
        "known_events_per_merge": _cpu(merged) / _cpu(each),
        "event_of_a_merged_customer": _cpu(survivors) / _cpu(each),
        "pairs": pairs,
    }


def _cpu(figures: Figures) -> float:
    return float(figures["cpu_us_each"] + figures["postgres_cpu_us_each"])


class _Run:
    """Appends to a log in memory, and lets the worker process it."""

    def __init__(self, worker: Scoring, log: MemoryLog) -> None:
        self._worker, self._log, self._number = worker, log, 0

    async def measured(self, customers: Iterable[int]) -> Meter:
        """Process one purchase of each of these customers."""
        for customer in customers:
            self._number += 1
            value = common.purchase(self._number, customer, 0)
            self._log.append(customer % PARTITIONS, value)
        meter = Meter(self._worker.database)
        meter.start()
        await self.drain()
        meter.stop()
        return meter

    def says(self, customer: int, other: int) -> None:
        """Append the statement that two ids are one customer, at home in different partitions."""
        self._number += 1
        primary = f"customer-{customer}"
        data = ActivityData(identity=Identity(ids=[f"customer-{other}"], primary=primary))
        value = activity.event(f"link-{self._number}", primary, BEGIN, kind=IDENTITY, data=data)
        self._log.append(customer % PARTITIONS, value)

    async def drain(self) -> None:
        """Process what is left, in batches as a service reads them."""
        claims = self._worker.claims
        while any((c.next_offset or 0) < len(self._log.records[tp]) for tp, c in claims.items()):
            batch = self._log.batch(claims.values(), BATCH // PARTITIONS)
            moved(claims, await self._worker.turn(batch))
