"""Applies a batch's effects to the loaded columns, for the cache of customers.

Only this module defines how effects change columns. It changes no column in place.
"""

from dataclasses import fields

import numpy as np

from services.scoring.core.value.classify import ClassificationColumns
from services.scoring.core.value.compare import ClassificationRows
from services.scoring.ports import BatchEffects, LoadedClassification, LoadedRows
from shared.kernel.arrays import Ints


def loaded_after(loaded: LoadedRows, effects: BatchEffects, rows: Ints) -> LoadedRows:
    """Returns the loaded columns of these rows with the effects applied."""
    after = loaded.take(rows)
    touched = np.flatnonzero(rows < len(effects.states))
    after.state[touched] = effects.states[rows[touched]]
    after.known[touched] = True
    due_at = effects.due_at[rows]
    after.due_at = np.where(np.isnan(due_at), after.due_at, due_at)
    place = np.full(len(effects.customers), -1)
    place[rows] = np.arange(len(rows))
    new = effects.assessments.take(np.flatnonzero(place[effects.assessments.row] >= 0))
    at = place[new.row]
    after.revision[at] = new.revision
    after.probability[at] = new.probability
    after.model_version[at] = effects.predictor.version
    after.band[at] = new.band
    after.next_assessment_at[at] = new.next_assessment_at
    after.published_signs[at] = new.published_signs
    published = at[new.published]
    after.published_at[published] = new.assessed_at[new.published]
    after.published_probability[published] = new.probability[new.published]
    after.published_band[published] = new.band[new.published]
    return after


def classification_after(
    rows: ClassificationRows, before: LoadedClassification
) -> LoadedClassification:
    """Returns the classification as stored; grade overrides, absences and profiles stay."""
    return LoadedClassification(
        **{field.name: getattr(rows, field.name) for field in fields(ClassificationColumns)},
        override=before.override,
        override_until=before.override_until,
        away_from=before.away_from,
        away_until=before.away_until,
        profile=before.profile,
    )
