"""Converts a batch's columns to PostgreSQL rows, and rows to columns.

Only this module makes a Python value for each customer and column. It never accesses PostgreSQL.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.scoring.core.features.columns import objects
from services.scoring.core.features.state import (
    FEATURE_SET,
    empty,
    from_bytes,
    to_bytes,
)
from services.scoring.core.features.times import seconds_of
from services.scoring.ports import BatchEffects, EventRows, LoadedRows
from shared.kernel.arrays import Flags, Ints
from shared.kernel.errors import Transient
from shared.postgres.copy_columns import Numbers, Words, timestamps


def loaded_of(
    numbers: Mapping[str, NDArray[Any]], words: Mapping[str, Sequence[Any]]
) -> LoadedRows:
    """Builds `LoadedRows` from stored columns; `feature_set` is the state's, -1 without a state.

    Raises Transient where a state is of another feature set.
    """
    states, known = _unpacked(words["state"], numbers["feature_set"])
    return LoadedRows(
        state=states,
        known=known,
        revision=numbers["revision"],
        probability=numbers["probability"],
        band=numbers["band"].astype(np.int8),
        model_version=objects(words["model_version"]),
        published_at=numbers["published_at"],
        published_probability=numbers["published_probability"],
        published_band=numbers["published_band"].astype(np.int8),
        published_signs=numbers["published_signs"].astype(np.int16),
        due_at=numbers["due_at"],
        next_assessment_at=numbers["look_at"],
        grouped=numbers["grouped"],
    )


def event_rows(events: EventRows, recorded_at: datetime) -> tuple[Numbers, Words]:
    """Returns the columns of `event`."""
    numbers = {
        "recorded_at": timestamps(np.full(len(events), recorded_at.timestamp())),
        "time": timestamps(seconds_of(events.time)),
    }
    words: Words = {
        "customer_id": [name.encode() for name in events.customer],
        "original_customer_id": [name.encode() for name in events.original_customer],
        "type": [kind.encode() for kind in events.type],
        "payload": [record.value for record in events.record],
    }
    return numbers, words


def keys(events: EventRows) -> tuple[Numbers, Words]:
    """Returns the columns of `s_key`."""
    return {"n": np.arange(len(events), dtype=np.int32)}, {
        "customer_id": [name.encode() for name in events.customer],
        "source": [name.encode() for name in events.source],
        "id": [name.encode() for name in events.id],
        "content_hash": events.content_hash,
    }


def customers(effects: BatchEffects) -> tuple[Numbers, Words]:
    """Returns the columns of `s_customer`: touched customers with their state, and assessed ones.

    Where `assessed` is false the assessment's columns have no meaning; `told` marks the customers
    with a published assessment."""
    new, n, touched = effects.assessments, len(effects.customers), len(effects.states)
    assessed, at = np.zeros(n, np.bool_), np.zeros(n, np.int64)
    assessed[new.row], at[new.row] = True, np.arange(len(new))
    rows = np.flatnonzero((np.arange(n) < touched) | assessed)
    assessed, at = assessed[rows], at[rows]
    numbers: Numbers = {
        "partition": np.array(effects.partition, np.int32)[rows],
        "stored": effects.stored[rows],
        "assessed": assessed,
        "revision": _of(new.revision, at),
        "assessed_at": _of(new.assessed_at, at),
        "probability": _of(new.probability, at),
        "band": _of(new.band.astype(np.int16), at),
        "published_signs": _of(new.published_signs, at),
        "look_at": _of(new.next_assessment_at, at),
        "value_at_risk": _of(new.value_at_risk, at),
        "told": assessed & _of(new.published, at),
    }
    packed = np.full(len(rows), None, np.object_)
    packed[assessed] = new.horizons[at[assessed]]
    return numbers, {
        "customer_id": [effects.customers[row].encode() for row in rows.tolist()],
        "state": [*to_bytes(effects.states), *[None] * (len(rows) - touched)],
        "horizons": packed.tolist(),
    }


def _of(column: NDArray[Any], at: Ints) -> NDArray[Any]:
    """Returns the column's values at these places; zeros for an empty column."""
    return column[at] if len(column) else np.zeros(len(at), column.dtype)


def timers(effects: BatchEffects) -> tuple[Numbers, Words]:
    """Returns the columns of `s_timer`: the new time, the time read, and whether it is stored.

    The time read is NaN where there was no timer."""
    rows = np.flatnonzero(~np.isnan(effects.due_at))
    before = effects.timer[rows]
    numbers: Numbers = {
        "partition": np.array(effects.partition, np.int32)[rows],
        "due_at": effects.due_at[rows],
        "before": before,
        "stored": ~np.isnan(before),
    }
    return numbers, {"customer_id": [effects.customers[row].encode() for row in rows.tolist()]}


def made_by(effects: BatchEffects) -> tuple[str, str, int, int]:
    """Returns method, version, feature set and horizon of the predictor."""
    model = effects.predictor
    return model.method, model.version, model.feature_set, model.horizon_days


def history(effects: BatchEffects) -> tuple[Numbers, Words]:
    """Returns the columns of `assessment_history`, for the published assessments."""
    new = effects.assessments.take(np.flatnonzero(effects.assessments.published))
    n, (method, version, feature_set, horizon_days) = len(new), made_by(effects)
    numbers: Numbers = {
        "recorded_at": timestamps(np.full(n, effects.recorded_at.timestamp())),
        "revision": new.revision,
        "assessed_at": timestamps(new.assessed_at),
        "probability": new.probability,
        "band": new.band.astype(np.int16),
        "feature_set": np.full(n, feature_set, np.int16),
        "horizon_days": np.full(n, horizon_days, np.int16),
    }
    return numbers, {
        "customer_id": [effects.customers[row].encode() for row in new.row.tolist()],
        "method": [method.encode()] * n,
        "model_version": [version.encode()] * n,
        "features": [row.tobytes() for row in np.ascontiguousarray(new.features, "<f8")],
        "message": new.message.tolist(),
        "horizons": new.horizons.tolist(),
    }


def _unpacked(packed: Sequence[bytes | None], feature_set: Ints) -> tuple[NDArray[np.void], Flags]:
    """Returns STATE[n] and bool[n]: whether a state is stored. Without one, STATE is empty."""
    known = feature_set >= 0
    for found in np.unique(feature_set[known & (feature_set != FEATURE_SET)]).tolist():
        raise Transient(
            f"stored states have feature set {found}, this version has {FEATURE_SET}: scoring "
            "goes on once `python -m services.scoring rebuild` has rebuilt them"
        )
    stored = [one for one in packed if one is not None]
    if len(stored) == len(packed):
        return from_bytes(stored), known
    states = empty(len(packed))
    if stored:
        states[known] = from_bytes(stored)
    return states, known
