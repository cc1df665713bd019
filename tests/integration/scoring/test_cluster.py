"""Training on a local Dask cluster of two processes.

It uses the same kernel and the same panel, and gives the same trees within a stated tolerance.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import distributed
import numpy as np
import pytest

from services.scoring.core.monitoring.treatment_weights import TreatmentWindow
from services.scoring.training.data.disk_history import DiskHistory, DiskHistoryWriter
from services.scoring.training.data.event_table import EventBatch
from services.scoring.training.data.panel import RowOptions, gather, no_progress
from services.scoring.training.fit.cluster import TOLERANCE, DaskCluster
from services.scoring.training.fit.train import OneMachine, train
from tests.unit.scoring.training.histories import END, HORIZON_DAYS, day, shoppers

SHOPPERS = shoppers(600)

pytestmark = pytest.mark.timeout(300)  # processes start slowly on a busy machine


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    """Provide two workers on loopback."""
    start: Any = distributed.LocalCluster  # untyped
    connect: Any = distributed.Client
    with (
        start(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0",
            host="127.0.0.1",
        ) as cluster,
        connect(cluster) as found,
    ):  # fmt: skip
        yield found


@pytest.fixture
def history(tmp_path: Path) -> DiskHistory:
    """Provide shoppers in six pieces.

    There are so many that chance has little influence on a worker's bins.
    """
    spool = DiskHistoryWriter(tmp_path / "spool", in_memory_max=0, pieces=6)
    events = SHOPPERS.events
    spool.add(EventBatch([SHOPPERS.customers[at] for at in events.row], events))
    found = spool.finish(END)
    assert isinstance(found, DiskHistory)
    return found


def test_the_cluster_learns_what_one_machine_learns(client: Any, history: DiskHistory) -> None:
    """The panel is bit for bit the same, and so are the decisions made on it.

    The final trees agree within `TOLERANCE`, though each worker bins its own rows.
    """
    treated = [
        TreatmentWindow(c, n % 2 == 0, datetime.fromtimestamp(day(70), UTC), None)
        for n, c in enumerate(SHOPPERS.customers[:60])
    ]
    one, other = (
        train(history, END, HORIZON_DAYS, asked=RowOptions(treated), executor=hands)
        for hands in (OneMachine(), DaskCluster(client))
    )
    np.testing.assert_array_equal(one.fitted.backtest.rows.x, other.fitted.backtest.rows.x)
    np.testing.assert_array_equal(one.fitted.backtest.log_odds, other.fitted.backtest.log_odds)
    assert one.model.card == other.model.card
    assert other.model.booster.num_trees() == one.model.card.trees
    x = one.fitted.backtest.rows.x
    mine, theirs = one.model.predict(x), other.model.predict(x)
    assert not np.array_equal(mine, theirs), "the trees were not grown apart"
    assert np.abs(mine - theirs).mean() < TOLERANCE
    assert np.corrcoef(mine, theirs)[0, 1] > 0.98


def test_a_history_in_memory_is_refused(client: Any) -> None:
    with pytest.raises(TypeError, match="spooled files"):
        DaskCluster(client).pieces(shoppers(), gather, no_progress)
