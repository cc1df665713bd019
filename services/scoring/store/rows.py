"""A turn's columns as the rows that PostgreSQL is given, and its rows as columns.

What it is for: the one place with a Python value for each customer and column. It never talks to
PostgreSQL.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import repeat
from math import isnan
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from services.scoring.core.catalogue import REASON_INDEX
from services.scoring.core.columns import codes, objects
from services.scoring.core.material import NO_REASON
from services.scoring.core.state import FEATURE_SET, empty, from_bytes, to_bytes
from services.scoring.core.times import moments, seconds_of
from services.scoring.ports import Effects, EventRows, Loaded
from shared.kernel.errors import Transient
from shared.postgres.copying import Numbers, Words, timestamps

REASON_CODES: Final = tuple(REASON_INDEX)
"""By the numbers that stand for them in columns."""


def loaded_of(rows: Sequence[Any]) -> Loaded:
    """From rows of `Loaded`'s columns, but for `known`, after the state its feature set.

    Raises Transient where a state is of another feature set.
    """
    if not rows:
        return Loaded.nothing(0)
    (
        state, feature_set, revision, probability, band, model_version, published_at,
        published_probability, published_band, published_reason, due_at, look_at,
    ) = zip(*rows, strict=True)  # fmt: skip
    states, known = _unpacked(state, feature_set)
    return Loaded(
        state=states,
        known=known,
        revision=np.array(revision, np.int64),
        probability=np.array(probability, np.float64),
        band=np.array(band, np.int8),
        model_version=objects(model_version),
        published_at=np.array(published_at, np.float64),
        published_probability=np.array(published_probability, np.float64),
        published_band=np.array(published_band, np.int8),
        published_reason=codes(published_reason, REASON_CODES),
        due_at=np.array(due_at, np.float64),
        look_at=np.array(look_at, np.float64),
    )


def event_rows(events: EventRows, recorded_at: datetime) -> tuple[Numbers, Words]:
    """Columns of `event`."""
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


def customers(effects: Effects) -> list[tuple[object, ...]]:
    """Rows of `s_customer`: who was touched, with the state, and who is assessed anew; last,
    whether a row of theirs is stored."""
    new, touched = effects.assessments, len(effects.states)
    place = np.full(len(effects.customers), -1)
    place[new.row] = np.arange(len(new))
    also = np.flatnonzero(place[touched:] >= 0) + touched
    place = np.concatenate((place[:touched], place[also]))
    columns: list[Sequence[object]] = [
        new.revision.tolist(),
        new.assessed_at.tolist(),
        new.probability.tolist(),
        new.band.tolist(),
        new.look_at.tolist(),
        _reasons(new.published_reason),
        new.value_at_risk.tolist(),
        new.horizons.tolist(),
        new.told.tolist(),
    ]
    if len(new) < len(place) or (place != np.arange(len(new))).any():
        # Place -1 is the last element.
        columns = [[*column, None] for column in columns]
        columns = [[column[at] for at in place.tolist()] for column in columns]
    return list(
        zip(
            [*effects.customers[:touched], *(effects.customers[row] for row in also.tolist())],
            [*effects.partition[:touched], *(effects.partition[row] for row in also.tolist())],
            [*to_bytes(effects.states), *[None] * len(also)],
            *columns,
            [*effects.stored[:touched].tolist(), *effects.stored[also].tolist()],
            strict=True,
        )
    )


def timers(effects: Effects) -> list[tuple[str, int, float, float, bool]]:
    """Rows of `s_timer`: the timer as it becomes and as it was read; last, whether it is stored."""
    rows = np.flatnonzero(~np.isnan(effects.due_at))
    return [
        (effects.customers[row], effects.partition[row], due, before, not isnan(before))
        for row, due, before in zip(
            rows.tolist(), effects.due_at[rows].tolist(), effects.timer[rows].tolist(), strict=True
        )
    ]


def made_by(effects: Effects) -> tuple[str, str, int, int]:
    """Method, version, feature set and horizon of what assessed."""
    model = effects.predictor
    return model.method, model.version, model.feature_set, model.horizon_days


def history(effects: Effects) -> Iterator[tuple[object, ...]]:
    """Rows of `assessment_history`: of the assessments that are told."""
    new = effects.assessments.take(np.flatnonzero(effects.assessments.told))
    return zip(
        repeat(effects.recorded_at),
        [effects.customers[row] for row in new.row.tolist()],
        new.revision.tolist(),
        moments(new.assessed_at),
        new.probability.tolist(),
        new.band.tolist(),
        *map(repeat, made_by(effects)),
        [row.tobytes() for row in np.ascontiguousarray(new.features, "<f8")],
        new.message.tolist(),
        new.horizons.tolist(),
        strict=False,  # some repeat for ever
    )


def _reasons(codes: NDArray[np.int8]) -> list[str | None]:
    return [None if code == NO_REASON else REASON_CODES[code] for code in codes.tolist()]


def _unpacked(
    packed: Sequence[bytes | None], feature_set: Sequence[int | None]
) -> tuple[NDArray[np.void], NDArray[np.bool_]]:
    """STATE[n], the empty one where none is stored, and bool[n]: whether one is."""
    for found in set(feature_set) - {None, FEATURE_SET}:
        raise Transient(
            f"stored states have feature set {found}, this version has {FEATURE_SET}: scoring "
            "goes on once `python -m services.scoring rebuild` has made them anew"
        )
    stored = [one for one in packed if one is not None]
    if len(stored) == len(packed):
        return from_bytes(stored), np.ones(len(packed), np.bool_)
    states, known = empty(len(packed)), np.array([one is not None for one in packed], np.bool_)
    if stored:
        states[known] = from_bytes(stored)
    return states, known
