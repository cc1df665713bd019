"""Section `tracing`: the same batches of scoring without trace contexts, with one on each event,
and with spans that are sent.

The three take turns in one run, after one turn that warms the process up. The receiver of the spans
is in this process, so its work counts.
"""

import contextlib
from typing import Final

from deploy.local.stack import LocalStack
from shared.contracts.dead_letter import Headers
from shared.contracts.headers import TRACEPARENT
from shared.observability.otlp import TracingSettings, exporting
from tests.benchmark import common
from tests.benchmark.common import CUSTOMERS, Figures
from tests.benchmark.scoring_batches import EVENTS, Run, drain, preload
from tests.fakes.otlp import otlp_receiver

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
    found: Figures = {"carried": [], "recorded": []}
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


def _context(number: int) -> Headers:
    """Returns another trace for each event."""
    return ((TRACEPARENT, f"00-{number + 1:032x}-{number + 1:016x}-01".encode()),)
