"""Trainings are what these tests wait for: fewer of them say the same."""

import pytest

from services.scoring.training import backtest


@pytest.fixture(autouse=True)
def few_later_cutoffs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two beside the origins, each of which costs one more training."""
    monkeypatch.setattr(backtest, "LATER_MAX", 2)
