"""What a model's card promised, for model monitoring."""

from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from services.scoring.commands.models import _print_beside_the_card
from services.scoring.core.monitoring.outcomes import GroupQuality
from services.scoring.model.background import Background
from services.scoring.model.store import ArtefactStore
from services.scoring.store.models import ModelRow
from services.scoring.store.monitoring import MeasuredScores
from tests.unit.scoring.training.histories import trained

AT = datetime(2026, 3, 1, tzinfo=UTC)


def _background(report: str, tmp_path: Path) -> Background:
    row = ModelRow(
        version="lgbm-a", digest="0" * 64, feature_set=1, horizon_days=14,
        created_at=AT, trained_at=AT, report=report,
    )  # fmt: skip

    async def serving() -> ModelRow:
        return row

    return Background(serving, ArtefactStore(tmp_path))


async def test_the_measures_of_the_card_are_by_segment_of_monitoring(tmp_path: Path) -> None:
    report = trained()[1]
    background = _background(msgspec.json.encode(report).decode(), tmp_path)
    promised = await background.promised("lgbm-a")
    assert set(promised) == {"all", "active", "bought again"}
    for segment, name in (("all", "all"), ("active", "active"), ("bought again", "ge2")):
        card = report.card.validation[name]
        of_card = promised[segment].beside_the_card()
        assert of_card["log_loss"] == card["log_loss"]
        assert of_card["calibration_error"] == card["ece"]
        assert of_card["recall_at_10"] == pytest.approx((card["lift_at_10"] or 0.0) * 0.1)
    assert await background.promised("another version") == {}


@pytest.mark.parametrize("report", ["{}", '{"card": {"validation": {}}}', '{"r": 0.5}'])
async def test_without_a_backtest_nothing_was_promised(report: str, tmp_path: Path) -> None:
    assert await _background(report, tmp_path).promised("lgbm-a") == {}


def test_the_newest_realised_measures_stand_beside_the_cards(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def measured(month: int, log_loss: float, role: str = "champion") -> MeasuredScores:
        quality = GroupQuality("all", 500, 0.3, 0.3, 0.8, log_loss, 0.02, 2.5)
        return MeasuredScores(AT.date().replace(month=month), "lgbm-a", role, quality)

    rows = [measured(3, 0.4, "rule"), measured(3, 0.351), measured(2, 0.9)]
    promised = {
        "all": GroupQuality("all", 900, 0.3, 0.3, 0.8, 0.312, 0.011, 2.6),
        "active": GroupQuality("active", 900, 0.3, 0.3, 0.8, 0.312, 0.011, 2.6),
    }
    _print_beside_the_card(rows, "lgbm-a", promised)
    assert capsys.readouterr().out == (
        "2026-03-01  all           log loss 0.351 (card 0.312), calibration error 0.020 "
        "(card 0.011), recall at 10 0.250 (card 0.260)\n"
    )
