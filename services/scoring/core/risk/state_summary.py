"""Summarises a customer's state for a person: how often, how much, when first and last.

This is the state summary of the API. It computes no feature and never reads a clock.
"""

import math
from datetime import UTC, datetime
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.scoring.core.features.bitmap import day_of, unpack
from services.scoring.core.features.events import Kind

COUNTED: Final = {
    "complaint_opened": "complaints_opened",
    "complaint_closed": "complaints_closed",
    "points_earned": "times_points_earned",
    "points_spent": "times_points_spent",
    "points_expired": "times_points_expired",
    "points_expiring": "times_points_expiring",
    "level_raised": "levels_raised",
    "level_lowered": "levels_lowered",
    "contract_activated": "contracts_activated",
    "contract_ended": "contracts_ended",
}
"""Names of counts where an `s` at the end of the kind is not English."""

Value = int | float | datetime | None


def summary(states: NDArray[np.void]) -> dict[str, Value]:
    """Return the contents of the first of `states`; times in UTC, money in reporting currency.

    `<kind>s` and `last_<kind>_at` for each kind of event; the time is None where there was none.
    """
    state = states[:1]
    counts, last = state["counts"][0], state["last"][0]
    found: dict[str, Value] = {}
    for kind in Kind:
        name = kind.name.lower()
        found[COUNTED.get(name, f"{name}s")] = int(counts[kind - 1])
        found[f"last_{name}_at"] = _instant(last[kind - 1])
    newest = day_of(state["last"][:, Kind.PURCHASE - 1])
    row, _ = unpack(state["days"], newest)
    return found | {
        "purchase_days": len(row),
        "first_purchase_at": _instant(state["first_purchase"][0]),
        "newest_event_at": _instant(state["ref"][0]),
        "spent": float(state["spent"][0]),
        "refunded": float(state["refunded"][0]),
    }


def _instant(seconds: float) -> datetime | None:
    return datetime.fromtimestamp(float(seconds), UTC) if math.isfinite(seconds) else None
