"""The histogram that counts a batch at once gives the same result as the library's own."""

import numpy as np
from prometheus_client import CollectorRegistry, Histogram

from services.scoring.metrics import PROBABILITY


def test_shares_are_counted_as_one_by_one() -> None:
    """Bounds belong to the bucket below, as in the library.

    Samples are equal but for the time of creation.
    """
    values = np.array([0.0, 0.05, 0.1, 0.1000001, 0.31, 0.95, 1.0])
    own = Histogram(
        "own", "One by one", buckets=[n / 10 for n in range(1, 11)], registry=CollectorRegistry()
    )
    before = _samples(PROBABILITY)
    for value in values:
        own.observe(value)
    PROBABILITY.observe(values[:3])
    PROBABILITY.observe(values[3:])
    PROBABILITY.observe(values[:0])
    after = _samples(PROBABILITY)
    added = {key: after[key] - before[key] for key in after}
    expected = {key: value for key, value in _samples(own).items() if key[0] != "_created"}
    assert added.keys() == expected.keys()
    np.testing.assert_allclose([added[key] for key in expected], [*expected.values()])


def _samples(histogram: object) -> dict[tuple[str, str], float]:
    found: dict[tuple[str, str], float] = {}
    for metric in histogram.collect():  # type: ignore[attr-defined] # of both kinds
        for sample in metric.samples:
            found[sample.name.removeprefix(metric.name), sample.labels.get("le", "")] = sample.value
    return found
