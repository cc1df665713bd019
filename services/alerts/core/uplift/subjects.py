"""The measured trials as columns, the input of the learner."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from shared.contracts.feature_row import NAMES, VERSION
from shared.kernel.arrays import Flags, Floats

COLUMNS: Final = NAMES[VERSION]
"""Names of the feature columns: those of the version that is published now."""


@dataclass(frozen=True, slots=True)
class UpliftSubjects:
    """Measured trials, oldest first; columns of length n.

    A customer occurs once, with the first warning that the draw could have held out.
    """

    features: Floats
    """float64[n, p] in the order of `COLUMNS`; NaN: not known."""
    playbook: NDArray[np.object_]
    treated: Flags
    propensity: Floats
    """Probability of being treated, known from the draw: 1 - share held out; in (0, 1)."""
    returned: Flags
    at: Floats
    """Time of the warning, Unix seconds UTC, ascending."""

    def __len__(self) -> int:
        """Return the number of subjects."""
        return len(self.treated)

    def take(self, rows: Any) -> "UpliftSubjects":
        """Return the subjects at these rows (a mask, indices or a slice)."""
        return UpliftSubjects(
            self.features[rows],
            self.playbook[rows],
            self.treated[rows],
            self.propensity[rows],
            self.returned[rows],
            self.at[rows],
        )


def aligned(version: int, values: list[float | None]) -> list[float]:
    """Return a feature row in the order of `COLUMNS`; NaN where its version lacks the value.

    A version that is not known here has no values: all are NaN.

    >>> aligned(1, [3.0, None])[:3]
    [3.0, nan, nan]
    """
    names = NAMES.get(version, ())
    if names == COLUMNS and len(values) == len(COLUMNS):
        return [np.nan if value is None else value for value in values]
    known = dict(zip(names, values, strict=False))
    found = (known.get(name) for name in COLUMNS)
    return [np.nan if value is None else value for value in found]
