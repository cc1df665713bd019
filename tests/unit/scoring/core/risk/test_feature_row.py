"""The feature rows that scoring publishes: named features, rounded, unknown ones as null."""

import msgspec
import numpy as np
import pytest

from services.scoring.core.features.registry import FEATURES, feature_index
from services.scoring.core.risk.feature_row import feature_rows
from shared.contracts.feature_row import NAMES, VALUES_MAX, VERSION, FeatureRow


def test_a_row_has_the_named_features_of_its_customer() -> None:
    """Four significant digits; whole numbers stay whole, what is not known is null."""
    x = np.full((2, len(FEATURES)), np.nan)
    x[0, feature_index["recency_days"]] = 12.34567
    x[0, feature_index["order_value_usual"]] = 1_234_567.8
    x[0, feature_index["refund_share"]] = 0.00012344
    x[1, feature_index["complaints"]] = 3.0
    rows = feature_rows(x, np.array([0.51239, np.nan]))
    first, second = (msgspec.json.decode(msgspec.json.encode(row), type=FeatureRow) for row in rows)
    known = dict(zip(NAMES[VERSION], first.values, strict=True))
    assert {name: value for name, value in known.items() if value is not None} == {
        "recency_days": 12.35,
        "order_value_usual": 1_234_568.0,
        "refund_share": pytest.approx(0.0001234),
        "lapse_probability": 0.5124,
    }
    assert [v for v in second.values if v is not None] == [3.0]
    assert first.version == VERSION


def test_every_name_is_a_feature_of_the_registry() -> None:
    for names in NAMES.values():
        assert len(names) <= VALUES_MAX
        assert set(names) - {"lapse_probability"} <= set(feature_index)


def test_no_value_is_too_large_for_a_message() -> None:
    x = np.full((1, len(FEATURES)), 1e300)
    x[0, feature_index["recency_days"]] = np.inf
    (row,) = feature_rows(x, np.array([1.0]))
    encoded = msgspec.json.decode(msgspec.json.encode(row))
    assert encoded[1][0] is None
    assert encoded[1][-1] == 1.0
