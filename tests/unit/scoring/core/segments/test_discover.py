"""Discovered segments: existing clusters are found, and their rules can be run (R17)."""

import numpy as np
import pytest

from services.scoring.core.features.compute import features
from services.scoring.core.features.events import DAY_S
from services.scoring.core.features.fold import fold
from services.scoring.core.features.registry import FEATURES
from services.scoring.core.features.state import empty
from services.scoring.core.segments.columns import Frame
from services.scoring.core.segments.expression import compile_rule
from services.scoring.core.segments.rules import NAMES
from services.scoring.training.discover_segments import discover
from shared.kernel.arrays import Floats
from tests.unit.scoring.core.histories import columns, real


def two_kinds(n: int) -> Floats:
    """Return customers: half buy weekly for about 10, half quarterly for about 500."""
    draw = np.random.default_rng(5)
    rows, times, amounts = [], [], []
    for row in range(n):
        gap, amount = ((7.0, 10.0), (90.0, 500.0))[row % 2]
        at = np.arange(draw.uniform(0, gap), 400.0, gap)
        rows += [row] * len(at)
        times += (at * DAY_S).tolist()
        amounts += draw.gamma(20.0, amount / 20.0, len(at)).tolist()
    events = columns(row=np.array(rows), time=np.array(times), amount=np.array(amounts))
    return features(fold(empty(n), events), np.full(n, 401 * DAY_S))


def test_R17_two_kinds_of_customers_are_found_and_described_by_rules_that_run() -> None:
    x = two_kinds(200)
    found = discover(x)
    assert max(found.silhouette, key=lambda k: found.silhouette[k]) == len(found.clusters) == 2
    assert [one.customers for one in found.clusters] == [100, 100]
    numbers = {feature.name: x[:, at] for at, feature in enumerate(FEATURES)}
    for cluster in found.clusters:
        assert (cluster.precision, cluster.recall) == (1.0, 1.0)
        members = compile_rule(cluster.rule, NAMES).members(Frame(200, numbers))
        assert members.sum() == 100
        assert len(set((np.flatnonzero(members) % 2).tolist())) == 1, "one kind only"


@pytest.mark.public_sets
def test_R17_on_real_customers_the_rules_describe_most_of_each_cluster() -> None:
    events = real("completejourney")
    if events is None:
        pytest.skip("completejourney is not here: set EBBWATCH_DATA to the folder of the data sets")
    n = int(events.row.max()) + 1
    x = features(fold(empty(n), events), np.full(n, events.time.max()))[:600]
    found = discover(x)
    assert found == discover(x), "the same customers give the same groups"
    assert sum(one.customers for one in found.clusters) == 600
    weighed = sum(one.recall * one.share for one in found.clusters)
    assert weighed > 0.8


def test_too_few_or_equal_customers_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 100"):
        discover(two_kinds(20))
