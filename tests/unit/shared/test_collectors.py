"""Gauges that are read at the scrape, and series that exist before anything happened."""

import pytest
from prometheus_client import REGISTRY, Counter, Histogram

from shared.observability.collectors import BatchHistogram, ScrapeGauge, begin
from shared.observability.service_metrics import ServiceMetrics

EDGES = (0.3, 1.0)
GAUGE = ScrapeGauge("ebbwatch_test_gauge", "Read at the scrape", ("kind",))
BATCHES = BatchHistogram("ebbwatch_test_batches", "At once", EDGES)
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
