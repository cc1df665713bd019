"""Training weights for customers who were warned about or held out (IPCW).

A retention task can bring back a customer who would have left; such a return does not prove
that the customer would have stayed. Where a random holdout exists, rows that reached a treatment
and got it are left out, and the held-out rows that reached one stand for both, with weight
1 / share held out (inverse probability of censoring, Robins & Finkelstein 2000). Without a
holdout, a return after a task counts half. Verdicts are not read: the outcome is what the
customer did.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple

import numpy as np

from services.scoring.core.features.events import DAY_S
from shared.kernel.arrays import Codes, Flags, Floats, Ints

HELD_OUT_MIN: Final = 50
"""With fewer held-out rows, their share, and so their weight, would be a guess."""
WEIGHT_MAX: Final = 20.0
"""Reached by a holdout below 5 %: a few rows must not decide the model."""
RETURN_WEIGHT: Final = 0.5
"""Weight of a return after a task without a holdout: the task caused it as likely as not."""
UNTREATED, TREATED, HELD_OUT = 0, 1, 2


class TreatmentWindow(NamedTuple):
    """A period in which a customer was treated or held out."""

    customer: str
    held_out: bool
    start: datetime
    until: datetime | None
    """None: one horizon after `start`."""


@dataclass(frozen=True, slots=True)
class TreatmentWindows:
    """n windows as columns; customers are indices into a table."""

    customer: Ints
    held_out: Flags
    start: Floats
    """Unix seconds, UTC."""
    until: Floats
    """NaN: one horizon after `start`."""

    def arms(self, cutoff: float, horizon_days: int, next_purchase: Floats) -> Codes:
        """Find the customers who reached a treatment before their outcome was decided.

        int8[customers] of UNTREATED, TREATED, HELD_OUT at this cutoff. `next_purchase`
        float64[customers]: time of the first purchase at or after the cutoff, +inf for none. A
        window did not affect customers who had bought again before it began.
        """
        end = cutoff + horizon_days * DAY_S
        until = np.where(np.isnan(self.until), self.start + horizon_days * DAY_S, self.until)
        begins = np.maximum(self.start, cutoff)
        open_then = next_purchase[self.customer] >= begins
        reached = (self.start < end) & (until > cutoff) & open_then
        found = np.full(len(next_purchase), UNTREATED, np.int8)
        found[self.customer[reached & self.held_out]] = HELD_OUT
        # A task that was raised after all is a treatment, even if the customer was held out before.
        found[self.customer[reached & ~self.held_out]] = TREATED
        return found


def treatments_of(windows: Sequence[TreatmentWindow], customers: Sequence[str]) -> TreatmentWindows:
    """Return the columns for a table's customers (ascending ids); other customers are left out."""
    index = {customer: at for at, customer in enumerate(customers)}
    known = [w for w in windows if w.customer in index]
    return TreatmentWindows(
        customer=np.array([index[w.customer] for w in known], np.int64),
        held_out=np.array([w.held_out for w in known], np.bool_),
        start=np.array([w.start.timestamp() for w in known], np.float64),
        until=np.array(
            [np.nan if w.until is None else w.until.timestamp() for w in known], np.float64
        ),
    )


class Weights(NamedTuple):
    """Weights of rows that reached a treatment; all others weigh 1."""

    treated_silent: float
    treated_returned: float
    held_out: float

    def of(self, arm: Codes, silent: Flags) -> Floats:
        """float64[n]; 0: leave the row out."""
        treated = np.where(silent, self.treated_silent, self.treated_returned)
        return np.where(arm == TREATED, treated, np.where(arm == HELD_OUT, self.held_out, 1.0))


def weights_of(treated: int, held_out: int) -> Weights:
    """Return the weights, given the numbers of treated and of held-out rows."""
    if treated == 0:
        return Weights(1.0, 1.0, 1.0)
    if held_out >= HELD_OUT_MIN:
        return Weights(0.0, 0.0, min((treated + held_out) / held_out, WEIGHT_MAX))
    return Weights(1.0, RETURN_WEIGHT, 1.0)


def weigh(arm: Codes, silent: Flags) -> tuple[Floats, str]:
    """Return the weight of each row (0: left out) and a sentence that describes the weighting."""
    n, m = int((arm == TREATED).sum()), int((arm == HELD_OUT).sum())
    weights = weights_of(n, m)
    if n == 0:
        sentence = "no row reached a task"
    elif weights.treated_silent == 0.0:
        sentence = f"{n} treated rows left out; {m} held-out rows count {weights.held_out:.2f} each"
    else:
        returned = int(((arm == TREATED) & ~silent).sum())
        sentence = (
            f"{n} treated rows and no usable holdout ({m} rows, expected {HELD_OUT_MIN}): the "
            f"{returned} that returned count {RETURN_WEIGHT} each"
        )
    return weights.of(arm, silent), sentence
