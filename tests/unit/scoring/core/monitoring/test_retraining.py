"""When a model is trained again."""

from datetime import UTC, datetime, timedelta

import pytest

from services.scoring.core.monitoring.retraining import due

NOW = datetime(2026, 3, 1, tzinfo=UTC)
CALM = {"drift": "", "level": ""}
ALARM = {"drift": "", "level": "35.0% bought nothing"}


@pytest.mark.parametrize(
    ("age_days", "standing", "why"),
    [
        (None, CALM, "nothing was ever trained"),
        (3, CALM, None),
        (3, ALARM, None),  # training on the same data would not help
        (8, ALARM, "alarm level: 35.0% bought nothing"),
        (8, CALM, None),
        (28, CALM, "the last training is 28 days old"),
    ],
)
def test_on_schedule_or_sooner_while_an_alarm_stands(
    age_days: int | None, standing: dict[str, str], why: str | None
) -> None:
    last = None if age_days is None else NOW - timedelta(days=age_days)
    assert due(last, NOW, standing, every_days=28, pause_days=7) == why
