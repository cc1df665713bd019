"""The doubly robust learner: the effect of each playbook on a customer, from randomised trials.

For each subject the pseudo-outcome

    phi = m1(x) - m0(x) + (t - e) / (e (1 - e)) (y - m_t(x))

has the effect on customers like x as its mean whatever the outcome models m0 and m1 are, since the
propensity e is known from the draw (Robins, Rotnitzky & Zhao 1994; Kennedy 2023, "Towards optimal
doubly robust estimation of heterogeneous causal effects"). m0 and m1 are fitted on other subjects
than those they are used for (cross-fitting; Chernozhukov et al. 2018). A ridge regression of phi on
the customer's features, per playbook, is shrunk to the playbook's rate by as much as the data show.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from services.alerts.core.uplift.encoding import Encoding, encoding, one_hot
from services.alerts.core.uplift.ridge import Ridge, ridge
from services.alerts.core.uplift.subjects import UpliftSubjects
from shared.kernel.arrays import Flags, Floats

FOLDS: Final = 5
"""Parts of the cross-fitting: each outcome model learns from four fifths."""


class OutcomeModels:
    """P(bought again) of either arm, given features and playbook: m1 and m0."""

    def __init__(self, columns: Floats, subjects: UpliftSubjects) -> None:
        """Fit both arms on `columns` of the subjects; each needs at least two subjects."""
        y = subjects.returned.astype(np.float64)
        self._arms = {
            treated: ridge(columns[rows], y[rows])
            for treated in (True, False)
            for rows in (subjects.treated == treated,)
        }

    def pseudo_outcomes(self, columns: Floats, subjects: UpliftSubjects) -> Floats:
        """Return phi, float64[n], of subjects that the models were not fitted on."""
        m1, m0 = (np.clip(self._arms[arm].predict(columns), 0.0, 1.0) for arm in (True, False))
        t, e = subjects.treated.astype(np.float64), subjects.propensity
        own = np.where(subjects.treated, m1, m0)
        return m1 - m0 + (t - e) / (e * (1 - e)) * (subjects.returned - own)


def outcome_columns(z: Floats, subjects: UpliftSubjects, playbooks: list[str]) -> Floats:
    """Return the columns of the outcome models: encoded features z, and the playbook."""
    return np.hstack([z, one_hot(subjects.playbook, playbooks)])


def cross_fitted(columns: Floats, subjects: UpliftSubjects) -> Floats:
    """Return phi, float64[n]: each from outcome models of the other folds.

    The folds run through time in turn, so that each has all seasons.
    """
    phi = np.empty(len(subjects))
    fold = np.arange(len(subjects)) % FOLDS
    for number in range(FOLDS):
        here: Flags = fold == number
        models = OutcomeModels(columns[~here], subjects.take(~here))
        phi[here] = models.pseudo_outcomes(columns[here], subjects.take(here))
    return phi


@dataclass(frozen=True, slots=True)
class Learned:
    """What was learned from some subjects."""

    encode: Encoding
    outcomes: OutcomeModels
    """Fitted on all of them: for pseudo-outcomes of later subjects."""
    effects: dict[str, Ridge]
    """For each playbook the effect given the encoded features."""


def learn(subjects: UpliftSubjects, playbooks: list[str]) -> Learned:
    """Return what the subjects teach about these playbooks, their only ones."""
    encode = encoding(subjects.features)
    z, e = encode(subjects.features), subjects.propensity
    columns = outcome_columns(z, subjects, playbooks)
    phi = cross_fitted(columns, subjects)
    found = {}
    for name in playbooks:
        rows = subjects.playbook == name
        # The variance of phi is inverse to e (1 - e), which is known before the outcome.
        found[name] = ridge(z[rows], phi[rows], (e * (1 - e))[rows])
    return Learned(encode, OutcomeModels(columns, subjects), found)
