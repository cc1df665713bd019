"""The challenger beside the champion: same rows, bounded queue, no delay."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import cast

import numpy as np
import pytest

from services.scoring.core.features.registry import FEATURES
from services.scoring.handlers import shadow_scoring as shadowing
from services.scoring.handlers.shadow_scoring import ShadowScore, ShadowScoring
from services.scoring.model.churn_model import ChurnModel
from services.scoring.model.rule_model import RuleModel
from services.scoring.ports import BatchEffects, Predictor
from shared.kernel.errors import Transient
from tests.fakes.model import tiny_model
from tests.fakes.scoring_rows import AssessmentRow, written

AT = datetime(2026, 3, 1, tzinfo=UTC)


class Kept:
    """A store of shadow scores that fails as often as the test sets."""

    def __init__(self) -> None:
        self.rows: list[ShadowScore] = []
        self.away = 0

    async def add(self, rows: Sequence[ShadowScore]) -> None:
        """Keep the scores."""
        if self.away:
            self.away -= 1
            raise Transient("PostgreSQL is not there")
        self.rows += rows


def _effects(count: int) -> tuple[BatchEffects, np.ndarray]:
    x = np.random.default_rng(3).gamma(1.0, 20.0, (count, len(FEATURES)))
    rows = [
        AssessmentRow(
            f"c{n}", 0, 1, AT, 0.25, 1, AT, x[n].astype("<f8").tobytes(), 0, 0.0, None, b""
        )
        for n in range(count)
    ]
    return written(cast("Predictor", RuleModel(28)), AT, assessments=rows), x


MODEL = tiny_model(4)


async def test_both_numbers_of_a_row_are_kept() -> None:
    store = Kept()
    shadow = ShadowScoring(lambda: MODEL, store)
    effects, x = _effects(7)
    shadow.offer(effects)
    await shadow.drain()
    assert [row.customer_id for row in store.rows] == [f"c{n}" for n in range(7)]
    np.testing.assert_array_equal([row.probability for row in store.rows], MODEL.predict(x))
    assert {(r.version, r.champion, r.champion_probability) for r in store.rows} == {
        (MODEL.version, "rule-2", 0.25)
    }
    await shadow.drain()
    assert len(store.rows) == 7


async def test_without_a_challenger_nothing_waits() -> None:
    store = Kept()
    shadow = ShadowScoring(lambda: None, store)
    shadow.offer(_effects(5)[0])
    await shadow.drain()
    assert store.rows == []


async def test_the_queue_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shadowing, "QUEUE_ROWS_MAX", 8)
    store = Kept()
    shadow = ShadowScoring(lambda: MODEL, store)
    for _ in range(3):
        shadow.offer(_effects(5)[0])
    await shadow.drain()
    assert len(store.rows) == 8


async def test_trouble_keeps_what_waits() -> None:
    store = Kept()
    store.away = 1
    shadow = ShadowScoring(lambda: MODEL, store)
    shadow.offer(_effects(5)[0])
    with pytest.raises(Transient):
        await shadow.drain()
    await shadow.drain()
    assert len(store.rows) == 5


async def test_a_challenger_that_is_gone_takes_its_queue_along() -> None:
    store = Kept()
    now: list[ChurnModel | None] = [MODEL]
    shadow = ShadowScoring(lambda: now[0], store)
    shadow.offer(_effects(5)[0])
    now[0] = None
    await shadow.drain()
    assert store.rows == []
    now[0] = MODEL
    await shadow.drain()
    assert store.rows == []
