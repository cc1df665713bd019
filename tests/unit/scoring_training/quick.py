"""Trainings are what many tests wait for: fewer and smaller ones say the same."""

import pytest

from services.scoring.training.fit import backtest, search


@pytest.fixture(autouse=True)
def quick_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """At most 40 trees of the usual settings, and two later cutoffs beside the origins."""
    monkeypatch.setattr(search, "TREES_MAX", 40)
    monkeypatch.setattr(search, "SETTINGS", {search.USUAL: {}})
    monkeypatch.setattr(backtest, "LATER_MAX", 2)
