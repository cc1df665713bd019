"""Faster training for the many tests that wait for it; smaller models test the same."""

import pytest

from services.scoring.training.fit import backtest, search


@pytest.fixture(autouse=True)
def quick_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set at most 40 trees of the usual settings, and two later cutoffs beside the origins."""
    monkeypatch.setattr(search, "TREES_MAX", 40)
    monkeypatch.setattr(search, "SETTINGS", {search.USUAL: {}})
    monkeypatch.setattr(backtest, "LATER_MAX", 2)
