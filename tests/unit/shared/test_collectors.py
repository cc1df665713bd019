"""Gauges that are read at the scrape, and series that exist before anything happened."""

import pytest
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, TraceFlags
from prometheus_client import REGISTRY, Counter, Histogram
from prometheus_client.exposition import generate_latest as plain
from prometheus_client.openmetrics.exposition import generate_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parsed

from shared.observability.collectors import BatchHistogram, ScrapeGauge, begin
from shared.observability.service_metrics import ServiceMetrics
from shared.observability.tracing import current

EDGES = (0.3, 1.0)
GAUGE = ScrapeGauge("ebbwatch_test_gauge", "Read at the scrape", ("kind",))
BATCHES = BatchHistogram("ebbwatch_test_batches", "At once", EDGES)
TRACED = BatchHistogram("ebbwatch_test_traced", "With traces", EDGES)
ONE_BY_ONE = Histogram("ebbwatch_test_one_by_one", "One by one", buckets=EDGES)
COUNTED = Counter("ebbwatch_test_counted", "Of two kinds", ["kind", "outcome"])
SERVICE = ServiceMetrics("test", "its end", ("first", "last"), outbox=False)


def value(name: str, **labels: str) -> float | None:
    """Return one series' value at a scrape; None when there is none."""
    return REGISTRY.get_sample_value(name, labels)


def test_a_gauge_is_read_at_the_scrape() -> None:
    """It has no series before there is something to read."""
    assert value("ebbwatch_test_gauge", kind="a") is None
    held = {"a": 1.0}
    GAUGE.read = lambda: [((kind,), number) for kind, number in held.items()]
    assert value("ebbwatch_test_gauge", kind="a") == 1
    held["a"] = 2.0
    assert value("ebbwatch_test_gauge", kind="a") == 2


def test_a_batch_counts_as_one_by_one() -> None:
    """An edge belongs to the bucket that it closes."""
    values = [0.1, 0.3, 0.30001, 1.0, 5.0, -1.0]
    BATCHES.observe(values)
    BATCHES.observe([])
    for each in values:
        ONE_BY_ONE.observe(each)
    for part in ("count", "sum"):
        both = [value(f"ebbwatch_test_{name}_{part}") for name in ("batches", "one_by_one")]
        assert both[0] == pytest.approx(both[1]), part
    for edge in ("0.3", "1.0", "+Inf"):
        both = [value(f"ebbwatch_test_{n}_bucket", le=edge) for n in ("batches", "one_by_one")]
        assert both[0] == both[1], edge


def test_a_bucket_shows_the_trace_of_its_newest_traced_value() -> None:
    """In OpenMetrics; what is in no sampled trace shows nothing, and hides nothing before it."""
    with current(in_trace(7)):
        TRACED.observe([0.1, 5.0, 0.2])
    with current(in_trace(8)):
        TRACED.observe([6.0])
    with current(in_trace(9, sampled=False)):
        TRACED.observe([0.29, 0.9])
    TRACED.observe([0.3])
    text = generate_latest(REGISTRY).decode()  # type: ignore[no-untyped-call]
    (family,) = (f for f in parsed(text) if f.name == "ebbwatch_test_traced")  # type: ignore[no-untyped-call]
    found = {each.labels["le"]: each.exemplar for each in family.samples if "le" in each.labels}
    assert found["0.3"].labels == {"trace_id": f"{7:032x}"}
    assert found["0.3"].value == 0.2
    assert found["1.0"] is None
    assert found["+Inf"].labels == {"trace_id": f"{8:032x}"}
    assert found["+Inf"].timestamp is not None
    assert b"trace_id" not in plain(REGISTRY)


def in_trace(trace_id: int, *, sampled: bool = True) -> Span:
    """Return a span of this trace."""
    flags = TraceFlags(TraceFlags.SAMPLED if sampled else TraceFlags.DEFAULT)
    return NonRecordingSpan(SpanContext(trace_id, 1, is_remote=True, trace_flags=flags))


def test_series_exist_from_the_start() -> None:
    """At 0, for each combination."""
    begin(COUNTED, ["x", "y"], ["good"])
    found = [value("ebbwatch_test_counted_total", kind=k, outcome="good") for k in ("x", "y")]
    assert found == [0, 0]


def test_stages_count_with_the_last() -> None:
    """A batch that failed, or changed nothing, has no stages."""
    failed = SERVICE.timed()
    failed("first")
    count = "ebbwatch_test_batch_stage_seconds_count"
    assert value(count, stage="first") == 0
    done = SERVICE.timed()
    done("first")
    done("last")
    assert [value(count, stage=stage) for stage in ("first", "last")] == [1, 1]
