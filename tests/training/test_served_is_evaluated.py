"""What is evaluated is what would serve, to 1e-9, on every public set: on cuts and on whole sets.

`chosen` is computed from the parts that training made, `would_serve` by the artefact as it is
stored, loaded again, and by its reasons' contributions.
"""

from functools import cache

import numpy as np
import pytest

from services.scoring.core.risk.odds import sigmoid
from services.scoring.model.churn_model import ChurnModel
from services.scoring.training.data.datasets import path_of
from services.scoring.training.data.event_file import read
from services.scoring.training.data.event_table import EventBatch, EventTable, from_columns
from services.scoring.training.evaluation.evaluate import instant_of
from services.scoring.training.evaluation.held_out import (
    CHOSEN,
    WOULD_SERVE,
    HeldOutCutoff,
    hold_out,
)
from services.scoring.training.evaluation.protocols import PROTOCOLS

CUT_CUSTOMERS = 400


@cache
def _table(name: str) -> EventTable:
    path = path_of(name)
    if path is None:
        pytest.skip(f"{name} is not here: set EBBWATCH_DATA to the folder of the data sets")
    return read(path).table


def _cut(table: EventTable) -> EventTable:
    """Return the same share of the customers, those of every so many in the order of their ids."""
    step = -(-len(table.customers) // CUT_CUSTOMERS)
    events = table.events.select(table.events.row % step == 0)
    names = [table.customers[row] for row in events.row.tolist()]
    return from_columns([EventBatch(names, events)], table.observed_until)


def _assert_served(found: HeldOutCutoff) -> None:
    chosen, served = found.predictions[CHOSEN], found.predictions[WOULD_SERVE]
    np.testing.assert_allclose(served, chosen, rtol=0, atol=1e-9)
    if isinstance(found.served, ChurnModel):
        x = found.rows.x[:500]
        total = found.served.explain(x).sum(axis=1) + found.served.base
        np.testing.assert_allclose(sigmoid(total), chosen[:500], rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("name", "test"), [(name, test) for name, of in PROTOCOLS.items() for test in of.tests]
)
def test_on_a_cut_of_each_set_at_each_test_cutoff(name: str, test: str) -> None:
    found = hold_out(_cut(_table(name)), instant_of(test), PROTOCOLS[name].horizon_days)
    _assert_served(found)
    assert found.decisions


@pytest.mark.public_sets
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", list(PROTOCOLS))
def test_on_each_whole_set_at_its_last_test_cutoff(name: str) -> None:
    protocol = PROTOCOLS[name]
    found = hold_out(_table(name), instant_of(protocol.tests[-1]), protocol.horizon_days)
    _assert_served(found)
    assert found.served.method != "rule", "a fitted score would serve on every set"
