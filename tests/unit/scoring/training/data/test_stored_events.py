"""Stored canonical events become the same columns that streaming folds."""

from datetime import UTC, datetime

import numpy as np
import pytest

from services.scoring.core.features.events import Kind
from services.scoring.core.features.stable_hash import stable_hash
from services.scoring.training.data.stored_events import batch_of
from shared.contracts import events as types
from shared.contracts.activity import ENCODER, Activity, ActivityData

AT = datetime(2017, 3, 1, 12, tzinfo=UTC)


def _payload(event_type: str, **data: object) -> bytes:
    event = Activity(
        specversion="1.0",
        id="e-1",
        source="shop",
        type=event_type,
        time=AT,
        subject="c-1",
        data=ActivityData(**data),  # type: ignore[arg-type] # fields by name
    )
    return ENCODER.encode(event)


def test_events_become_columns_and_profiles_are_left_out() -> None:
    """Kinds, amounts and scores arrive; absent numbers are NaN; a profile changes no state."""
    batch = batch_of(
        [
            _payload(types.PURCHASE, amount=12.5),
            _payload(types.PROFILE, profile=types.Profile()),
            _payload(types.FEEDBACK, kind="survey", score=7.0),
            _payload(types.INTERACTION, kind="page_viewed"),
        ]
    )
    columns = batch.columns
    assert list(batch.customers) == ["c-1", "c-1", "c-1"]
    assert columns.kind.tolist() == [Kind.PURCHASE, Kind.SURVEY, Kind.INTERACTION]
    np.testing.assert_array_equal(columns.amount, [12.5, np.nan, np.nan])
    np.testing.assert_array_equal(columns.score, [np.nan, 7.0, np.nan])
    assert columns.time.tolist() == [AT.timestamp()] * 3
    assert columns.key.tolist() == [stable_hash("shop", "e-1")] * 3


def test_an_unknown_type_is_refused() -> None:
    """No event is dropped silently on the way into training either."""
    with pytest.raises(ValueError, match="not known here"):
        batch_of([_payload("io.example.other")])
