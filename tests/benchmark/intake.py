"""Section `intake`: deciding on raw records without a broker, natively and by shipped mappings."""

import json
import time
from collections.abc import Callable, Sequence

from services.ingest.core.accept import accepted
from services.ingest.core.mapping.apply import Context, map_value
from services.ingest.core.rates import RateTable
from services.ingest.core.source_clocks import SourceClocks, Timing
from services.ingest.inbound.mapping_files import read_mapping
from shared.contracts.activity import ENCODER
from shared.runtime.gc_tuning import spare_collector
from tests.unit.ingest.events import ARRIVED_MS, purchase
from tests.unit.ingest.mapping.corpus import corpora

EVENTS = 10_000
ROUNDS = 8
"""Number of runs; the best is reported, because the machine's noise only adds time."""

RATES = RateTable("USD")
SEGMENT = ("order", "view", "view", "view", "view", "view", "view", "page", "page", "page")
"""A stream of a web shop's calls: one order among nine that are not."""


Work = tuple[Callable[[bytes], None], Sequence[bytes]]


def run() -> dict[str, float]:
    """Measures events per second of one process, to the encoded activity event.

    `clock_samples_ratio`: what is left of the native rate with the observation of clocks.
    """
    native = purchase(
        amount="12.50",
        currency="USD",
        channel="online",
        order_id="o-1",
        items=[{"sku": "a", "category": "Games", "quantity": 1}, {"sku": "b", "quantity": 2}],
    )
    work: list[Work] = [
        (_native, [native]),
        (_sampled(), [native]),
        (_mapping("segment"), _records("segment", SEGMENT)),
        (_mapping("shopify"), _records("shopify", ("order",))),
    ]
    spare_collector()  # as every service does
    # In turns, so that a slow moment of the machine is not one of them alone.
    rounds = [[_seconds(*each) for each in work] for _ in range(ROUNDS)]
    native_s, sampled_s, segment_s, shopify_s = map(min, zip(*rounds, strict=True))
    return {
        "native_per_s": 1 / native_s,
        "clock_samples_ratio": native_s / sampled_s,
        "segment_per_s": 1 / segment_s,
        "segment_ratio": native_s / segment_s,
        "shopify_per_s": 1 / shopify_s,
        "shopify_ratio": native_s / shopify_s,
    }


def _records(source: str, names: Sequence[str]) -> list[bytes]:
    """Returns samples of a source, each of which becomes one event."""
    (corpus,) = [each for each in corpora() if each.mapping == source]
    return [json.dumps(corpus.records[name]).encode() for name in names]


def _native(value: bytes) -> None:
    ENCODER.encode(accepted(value, (), ARRIVED_MS, RATES).event)


def _sampled() -> Callable[[bytes], None]:
    """Decides natively and observes the source's clock, as the consumer does for each event."""
    clocks = SourceClocks()

    def decide(value: bytes) -> None:
        event = accepted(value, (), ARRIVED_MS, RATES).event
        ENCODER.encode(event)
        at_s = event.time.timestamp()
        clocks.accepted(Timing(event.source, at_s, at_s - event.receivedms / 1000))

    return decide


def _mapping(name: str) -> Callable[[bytes], None]:
    _, mapping = read_mapping(name)
    context = Context(ARRIVED_MS, RATES)

    def decide(value: bytes) -> None:
        ((event, _),) = map_value(mapping, value, context).events
        ENCODER.encode(event)

    return decide


def _seconds(decide: Callable[[bytes], None], records: Sequence[bytes]) -> float:
    """Returns the processor seconds of one record, on average: what others use does not count."""
    stream = [records[n % len(records)] for n in range(EVENTS)]
    began_s = time.process_time()
    for value in stream:
        decide(value)
    return (time.process_time() - began_s) / EVENTS
