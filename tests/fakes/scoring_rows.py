"""Scoring's columns as rows that a test can write down and compare."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from services.scoring.core.features.columns import objects
from services.scoring.core.features.state import empty, from_bytes, to_bytes
from services.scoring.core.features.times import seconds_of
from services.scoring.core.risk.bands import NO_BAND
from services.scoring.ports import BatchEffects, EventRows, LoadedRows, NewAssessments, Predictor
from shared.postgres.ledger import Move
from shared.postgres.outbox import Message


@dataclass(frozen=True, slots=True)
class AssessmentRow:
    """One row of `ports.Assessments`."""

    customer: str
    partition: int
    revision: int
    assessed_at: datetime
    probability: float
    band: int
    next_assessment_at: datetime
    features: bytes
    published_signs: int
    value_at_risk: float
    message: bytes | None
    horizons: bytes


def assessed(effects: BatchEffects) -> list[AssessmentRow]:
    """Returns the assessments of a batch."""
    a = effects.assessments
    return [
        AssessmentRow(
            customer=effects.customers[row],
            partition=effects.partition[row],
            revision=int(a.revision[n]),
            assessed_at=_at(a.assessed_at[n]),
            probability=float(a.probability[n]),
            band=int(a.band[n]),
            next_assessment_at=_at(a.next_assessment_at[n]),
            features=a.features[n].astype("<f8").tobytes(),
            published_signs=int(a.published_signs[n]),
            value_at_risk=float(a.value_at_risk[n]),
            message=a.message[n],
            horizons=a.horizons[n],
        )
        for n, row in enumerate(a.row)
    ]


def written(
    predictor: Predictor,
    recorded_at: datetime,
    *,
    events: EventRows | None = None,
    states: Sequence[tuple[str, int, bytes]] = (),
    timers: Sequence[tuple[str, int, datetime]] = (),
    assessments: Sequence[AssessmentRow] = (),
    messages: Sequence[Message] = (),
    moves: Sequence[Move] = (),
) -> BatchEffects:
    """Returns the effects of a batch that writes these rows, where nothing was stored before."""
    partition = {name: home for name, home, _ in (*states, *timers)}
    for one in assessments:
        partition.setdefault(one.customer, one.partition)
    row = {name: n for n, name in enumerate(partition)}
    due_at = np.full(len(row), np.nan)
    for name, _, at in timers:
        due_at[row[name]] = at.timestamp()
    return BatchEffects(
        events=EventRows() if events is None else events,
        customers=[*partition],
        partition=[*partition.values()],
        stored=np.zeros(len(partition), np.bool_),
        timer=np.full(len(partition), np.nan),
        states=from_bytes([packed for _, _, packed in states]) if states else empty(0),
        due_at=due_at,
        assessments=_columns(assessments, row) if assessments else NewAssessments.nothing(0),
        predictor=predictor,
        messages=[*messages],
        moves=[*moves],
        recorded_at=recorded_at,
    )


def _columns(rows: Sequence[AssessmentRow], row: dict[str, int]) -> NewAssessments:
    return NewAssessments(
        row=np.array([row[one.customer] for one in rows]),
        revision=np.array([one.revision for one in rows]),
        assessed_at=seconds_of([one.assessed_at for one in rows]),
        probability=np.array([one.probability for one in rows]),
        band=np.array([one.band for one in rows], np.int8),
        next_assessment_at=seconds_of([one.next_assessment_at for one in rows]),
        features=np.stack([np.frombuffer(one.features, "<f8") for one in rows]),
        published_signs=np.array([one.published_signs for one in rows], np.int16),
        value_at_risk=np.array([one.value_at_risk for one in rows]),
        published=np.array([one.message is not None for one in rows]),
        message=objects([one.message for one in rows]),
        horizons=objects([one.horizons for one in rows]),
    )


@dataclass(frozen=True, slots=True)
class Found:
    """`ports.LoadedRows`, with None for what is not stored."""

    state: list[bytes | None]
    revision: list[int | None]
    probability: list[float | None]
    band: list[int | None]
    model_version: list[str | None]
    published_at: list[datetime | None]
    published_probability: list[float | None]
    published_band: list[int | None]
    published_signs: list[int]
    due_at: list[datetime | None]
    next_assessment_at: list[datetime | None]


def found(loaded: LoadedRows) -> Found:
    """Converts what was loaded."""
    packed = to_bytes(loaded.state)
    return Found(
        state=[one if known else None for one, known in zip(packed, loaded.known, strict=True)],
        revision=[int(n) or None for n in loaded.revision],
        probability=[None if np.isnan(p) else p for p in loaded.probability],
        band=[_band(code) for code in loaded.band],
        model_version=loaded.model_version.tolist(),
        published_at=[_when(at) for at in loaded.published_at],
        published_probability=[None if np.isnan(p) else p for p in loaded.published_probability],
        published_band=[_band(code) for code in loaded.published_band],
        published_signs=loaded.published_signs.tolist(),
        due_at=[_when(at) for at in loaded.due_at],
        next_assessment_at=[_when(at) for at in loaded.next_assessment_at],
    )


def _band(code: np.int8) -> int | None:
    return None if code == NO_BAND else int(code)


def _at(seconds: float) -> datetime:
    return datetime.fromtimestamp(float(seconds), UTC)


def _when(seconds: float) -> datetime | None:
    return None if np.isnan(seconds) else _at(seconds)
