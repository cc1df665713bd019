"""Collectors beside those of `prometheus_client`: gauges read at the scrape, histograms of arrays.

A gauge that is set by a loop stands still when the loop does; one that is read at the scrape shows
what is true then.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import product

import numpy as np
from prometheus_client import REGISTRY, Counter
from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar

from shared.kernel.arrays import Floats
from shared.observability.exemplars import exemplar
from shared.runtime.clock import SystemClock

Labels = tuple[str, ...]
Read = Callable[[], Iterable[tuple[Labels, float]]]
"""Returns the label values and the value of each series."""


class ScrapeGauge(Collector):
    """Gauge of which `read` returns the series at each scrape; no series before it is set."""

    def __init__(self, name: str, documentation: str, labelnames: Sequence[str] = ()) -> None:
        self.name, self.documentation = name, documentation
        self.labelnames = tuple(labelnames)
        self.read: Read | None = None
        REGISTRY.register(self)

    def collect(self) -> Iterable[Metric]:
        """Returns the gauge for a scrape."""
        family = GaugeMetricFamily(self.name, self.documentation, labels=self.labelnames)
        for labels, value in () if self.read is None else self.read():
            family.add_metric(labels, value)
        yield family


class BatchHistogram(Collector):
    """Histogram that counts all numbers of a batch at once.

    `prometheus_client.Histogram` takes one number at a time, under a lock; a batch has thousands.
    """

    def __init__(self, name: str, documentation: str, buckets: Sequence[float]) -> None:
        self.name, self.documentation = name, documentation
        self.labelnames: Labels = ()
        self._edges = np.array(buckets, np.float64)
        self._counts = np.zeros(len(self._edges) + 1, np.int64)
        self._sum = 0.0
        self._exemplars: dict[int, Exemplar] = {}
        """The newest traced value of each bucket, by the bucket's number."""
        self._clock = SystemClock()
        REGISTRY.register(self)

    def observe(self, values: Sequence[float] | Floats) -> None:
        """Counts all values, as a part of the current trace if there is one."""
        ordered = np.sort(np.asarray(values, np.float64))
        below = np.searchsorted(ordered, self._edges, "right")
        self._counts = self._counts + np.diff(below, prepend=0, append=len(ordered))
        self._sum += float(ordered.sum())
        if labels := exemplar():
            at_s = self._clock.now().timestamp()
            buckets = np.searchsorted(self._edges, ordered).tolist()
            # Values ascend, so that the greatest of each bucket is its exemplar.
            for bucket, value in dict(zip(buckets, ordered.tolist(), strict=True)).items():
                self._exemplars[bucket] = Exemplar(labels, value, at_s)

    def collect(self) -> Iterable[Metric]:
        """Returns the histogram for a scrape."""
        names = [*map(str, self._edges.tolist()), "+Inf"]
        counts = self._counts.cumsum().tolist()
        traced = self._exemplars
        buckets: list[tuple[str, float] | tuple[str, float, Exemplar]] = [
            (name, count, traced[bucket]) if bucket in traced else (name, count)
            for bucket, (name, count) in enumerate(zip(names, counts, strict=True))
        ]
        yield HistogramMetricFamily(self.name, self.documentation, buckets, self._sum)


def begin(counter: Counter, *labels: Iterable[str]) -> None:
    """Creates the series of every combination of label values, at 0.

    A rate over a series that does not exist is undefined, and the first increase is not seen.
    """
    for values in product(*labels):
        counter.labels(*values)
