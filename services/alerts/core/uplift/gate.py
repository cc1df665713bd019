"""Decides whether learned effects may serve: an out-of-time comparison with the playbooks' rates.

Each tenth of the trials, from the third on, is ranked by what all trials before it taught. Learned
effects serve where their Qini coefficient is better than that of the playbooks' rates, and the
interval of the difference excludes zero.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from services.alerts.core.intervals import Interval, Pick
from services.alerts.core.uplift.learner import learn, outcome_columns
from services.alerts.core.uplift.qini import Curve, Scored, advantage, curve, places
from services.alerts.core.uplift.subjects import UpliftSubjects

PARTS: Final = 10
"""Parts of the history, of equally many trials each."""
BEFORE: Final = 2
"""Parts that are only learned from: a fifth of the trials."""
ARM_MIN: Final = 50
"""Trials of each arm that a test needs to learn from and to rank."""
PLAYBOOK_MIN: Final = 100
"""Trials of a playbook that a test needs to learn from before it ranks its customers."""


@dataclass(frozen=True, slots=True)
class GateResult:
    """The comparison on later trials."""

    subjects: int
    """Trials that were ranked."""
    learned: Curve
    rate: Curve
    advantage: float
    """Qini coefficient of the learned effects minus that of the playbooks' rates."""
    interval: Interval

    @property
    def passed(self) -> bool:
        """Whether learned effects may serve."""
        return self.interval.low > 0


def judge(subjects: UpliftSubjects, playbooks: list[str], pick: Pick) -> GateResult | None:
    """Return the result over all tests; None where no part has enough trials before it.

    The subjects are in the order of time.
    """
    ends = np.linspace(0, len(subjects), PARTS + 1).round().astype(int).tolist()
    tested = [
        _tested(subjects.take(slice(0, begin)), subjects.take(slice(begin, end)), playbooks)
        for begin, end in zip(ends[BEFORE:-1], ends[BEFORE + 1 :], strict=True)
    ]
    parts = [part for part in tested if part is not None]
    if not parts:
        return None
    all_of_them = Scored(
        np.concatenate([part.phi for part in parts]),
        np.concatenate([part.learned for part in parts]),
        np.concatenate([part.rate for part in parts]),
    )
    gap, interval = advantage(all_of_them, pick)
    return GateResult(
        len(all_of_them.phi),
        curve(all_of_them.phi, all_of_them.learned),
        curve(all_of_them.phi, all_of_them.rate),
        gap,
        interval,
    )


def _tested(past: UpliftSubjects, test: UpliftSubjects, names: list[str]) -> Scored | None:
    known = [name for name in names if (past.playbook == name).sum() >= PLAYBOOK_MIN]
    past, test = (part.take(np.isin(part.playbook, known)) for part in (past, test))
    if not len(test) or min(past.treated.sum(), (~past.treated).sum()) < ARM_MIN:
        return None
    found = learn(past, known)
    z = found.encode(test.features)
    phi = found.outcomes.pseudo_outcomes(outcome_columns(z, test, known), test)
    learned, rate = np.empty(len(test)), np.empty(len(test))
    for name in known:
        rows = test.playbook == name
        learned[rows], rate[rows] = found.effects[name].predict(z[rows]), found.effects[name].mean
    return Scored(phi, places(learned), places(rate))
