"""What a turn leaves of what it loaded: where its next step begins, and what is remembered of it.

What it is for: the one place that says how effects change columns. It changes none in place.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from services.scoring.core.columns import codes, objects
from services.scoring.core.times import seconds_of
from services.scoring.core.value.changes import StandingRow
from services.scoring.core.value.grades import GRADES, TIERS
from services.scoring.core.value.lifecycle import BEHAVIOURS, LIFECYCLES
from services.scoring.core.value.standing import NO_SEGMENTS
from services.scoring.ports import Effects, Loaded, LoadedStanding

Ints = NDArray[np.int64]


def loaded_after(loaded: Loaded, effects: Effects, rows: Ints) -> Loaded:
    """Of these rows, what the effects have left of what was loaded; of several assessments of one
    customer the last counts, as numpy promises of what is assigned more than once."""
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
    after.look_at[at] = new.look_at
    after.published_reason[at] = new.published_reason
    told = at[new.told]
    after.published_at[told] = new.assessed_at[new.told]
    after.published_probability[told] = new.probability[new.told]
    after.published_band[told] = new.band[new.told]
    return after


def standing_after(rows: Sequence[StandingRow], before: LoadedStanding) -> LoadedStanding:
    """What is stored of the customers of these rows; a person's grade and the profile stay."""
    return LoadedStanding(
        at=seconds_of([row.at for row in rows]),
        sequence=np.array([row.sequence for row in rows], np.int64),
        grade=codes([row.grade for row in rows], GRADES),
        tier=codes([row.tier for row in rows], TIERS),
        behaviour=codes([row.behaviour for row in rows], BEHAVIOURS),
        lifecycle=codes([row.lifecycle for row in rows], LIFECYCLES),
        lifecycle_since=seconds_of([row.lifecycle_since for row in rows]),
        segments=objects([frozenset(s) if (s := row.segments) else NO_SEGMENTS for row in rows]),
        rules_revision=np.array([row.rules_revision for row in rows], np.int64),
        policy_version=np.array([row.policy_version for row in rows], np.int64),
        worth=np.array([row.worth for row in rows], np.float64),
        overridden=np.array([row.overridden for row in rows], np.bool_),
        override=before.override,
        override_until=before.override_until,
        profile=before.profile,
    )
