"""Section `tracing`: the same batches of scoring without trace contexts, with one on each event,
and with spans that are sent.

The three take turns in one run, after one turn that warms the process up. The receiver of the spans
is in this process, so its work counts. What tracing itself does in a batch is measured alone as
well: in a whole batch it is hard to tell from noise.
"""

import contextlib
import time
from collections.abc import Callable, Sequence
from typing import Final

from deploy.local.stack import LocalStack
from shared.contracts.dead_letter import Headers
from shared.contracts.headers import TRACEPARENT
from shared.kafka.batch import Batch, ConsumedRecord
from shared.kafka.worker import traced
from shared.observability.otlp import TracingSettings, exporting
from shared.observability.tracing import trace_for
from shared.postgres.ledger import Claim, Move
from tests.benchmark import common
from tests.benchmark.common import BATCH, CUSTOMERS, Figures
from tests.benchmark.scoring_batches import EVENTS, Run, drain, preload
from tests.fakes.log import Consumed
from tests.fakes.otlp import otlp_receiver

MESSAGES: Final = 200
"""Messages that follow from a batch of `BATCH` records in `_alone`."""
REPEATED: Final = 300
"""Batches in `_alone`."""
TURNS: Final = 3
"""Times that each of the three is measured."""


async def tracing(stack: LocalStack) -> Figures:
    """Measures the CPU time of each; ratios are to the run without contexts beside it."""
    run = Run(common.scaled(CUSTOMERS), common.scaled(EVENTS))
    _, plain, risk, _ = await common.make_topics(stack.kafka.settings, "untraced")
    _, carried, _, _ = await common.make_topics(stack.kafka.settings, "traced")
    customers = run.draws(common.uniform(run.events, run.customers))
    await preload(stack, plain.name, customers)
    await preload(stack, carried.name, customers, _context)
    found: Figures = {"alone_us": await _alone(), "carried": [], "recorded": []}
    for turn in range(-1, TURNS):
        none = await _measure(stack, plain.name, risk.name, run, turn, endpoint=None)
        with otlp_receiver() as receiver:
            for name, endpoint in (("carried", None), ("recorded", receiver.url)):
                cost = await _measure(stack, carried.name, risk.name, run, turn, endpoint=endpoint)
                pair = {what: cost[what] / none[what] for what in cost}
                if turn >= 0:
                    found[name].append(pair)
    return found


async def _measure(
    stack: LocalStack, topic: str, risk: str, run: Run, turn: int, *, endpoint: str | None
) -> dict[str, float]:
    with contextlib.ExitStack() as sending:
        settings = TracingSettings(exporter_otlp_endpoint=endpoint)
        sending.enter_context(exporting("bench", settings))
        group = f"{turn}-{'sent' if endpoint else 'measure'}"
        first, known = await drain(stack, topic, risk, run, group=group)
    return {"first": first.cpu_s, "known": known.cpu_s}


async def _alone() -> dict[str, float]:
    """Returns processor time for each batch: its span, and the context of what follows from it."""
    claim = Claim("activity", 0, 1, 0, None)

    def batch(headers: Callable[[int], Headers]) -> Batch:
        records: list[ConsumedRecord] = [
            Consumed("activity", 0, n, b"", b"%d" % n, headers=headers(n)) for n in range(BATCH)
        ]
        return Batch({claim.tp: claim}, {claim.tp: records}, {})

    async def follow(_: Batch) -> Sequence[Move]:
        for number in range(0, BATCH, BATCH // MESSAGES):
            trace_for(b"%d" % number)
        return ()

    async def cost(headers: Callable[[int], Headers]) -> float:
        one, handle = batch(headers), traced(follow)
        began = time.process_time()
        for _ in range(REPEATED):
            await handle(one)
        return (time.process_time() - began) / REPEATED * 1e6

    found = {"none": await cost(lambda _: ()), "carried": await cost(_context)}
    with otlp_receiver() as receiver:
        settings = TracingSettings(exporter_otlp_endpoint=receiver.url)
        with exporting("bench", settings):
            found["recorded"] = await cost(_context)
    return found


def _context(number: int) -> Headers:
    """Returns another trace for each event."""
    return ((TRACEPARENT, f"00-{number + 1:032x}-{number + 1:016x}-01".encode()),)
