"""The registry is complete: what is computed is documented, once."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from deploy.local.stack import ROOT
from services.scoring.commands.features import table
from services.scoring.core.features.compute import FEATURES, feature_index, features
from services.scoring.core.features.events import DAY_S
from services.scoring.core.features.fold import fold
from services.scoring.core.features.state import STATE, empty
from tests.unit.scoring.core.histories import EPOCH_S, generated


def test_every_feature_is_documented() -> None:
    """Each has name, meaning, unit, formula and source; names are unique."""
    assert len(feature_index) == len(FEATURES)
    for at, feature in enumerate(FEATURES):
        assert feature_index[feature.name] == at
        assert feature.name.isidentifier()
        assert all((feature.meaning, feature.unit, feature.formula, feature.source))
        assert feature.monotone in (-1, 0, 1)


def test_every_column_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """No column keeps the allocator's bytes, and none is a constant of the code."""
    allocate = np.empty

    def unwritten(*args: Any, **kwargs: Any) -> NDArray[Any]:
        made = allocate(*args, **kwargs)
        if made.dtype == np.float64:
            made.fill(np.nan)  # bytes of an earlier array would look like values
        return made

    monkeypatch.setattr(np, "empty", unwritten)
    # Some of the 400 customers have stated twice how likely they recommend.
    events = generated(400)
    n = int(events.row.max()) + 1
    x = features(
        fold(empty(n), events.select(events.time <= EPOCH_S + 3 * 365 * DAY_S)),
        np.full(n, EPOCH_S + 3 * 365 * DAY_S),
    )
    for at, feature in enumerate(FEATURES):
        known = x[:, at][~np.isnan(x[:, at])]
        assert len(np.unique(known)) > 1, feature.name


def test_state_fits_its_bound() -> None:
    """A state takes at most 1.375 KB per customer, in whole cells, without padding."""
    assert STATE.itemsize <= 1_408
    assert STATE.itemsize == sum(STATE[name].itemsize for name in STATE.names or ())
    assert all(STATE[name].itemsize % 8 == 0 for name in STATE.names or ())


def test_the_documented_table_is_the_registry() -> None:
    """`docs/features.md` describes what is computed; the command in its head writes it."""
    written = (ROOT / "docs" / "features.md").read_text()
    assert written == table()
