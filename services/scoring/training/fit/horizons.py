"""Carries the score to other horizons: three numbers each, fitted where labels have matured.

Fits `core.risk.horizons.Bridge` on the backtest, where the scores were made without the labels. The
fit is held towards moving the odds as the customer's own rhythm does, which is also the result
where the history is too short. The main horizon is never changed, and nothing is promoted.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from msgspec.structs import replace

from services.scoring.core.features.events import DAY_S
from services.scoring.core.monitoring.metrics import calibration_error, log_loss
from services.scoring.core.risk import btyd
from services.scoring.core.risk.horizons import AS_RHYTHM, Bridge
from services.scoring.core.risk.lapse import ORDINARY_SHARE, LapseClock, silences_of
from services.scoring.core.risk.odds import logit, sigmoid
from services.scoring.core.risk.rhythm import history
from services.scoring.model.card import HorizonCard
from services.scoring.model.churn_model import OtherHorizons
from services.scoring.model.pooled_model import no_purchase_over
from services.scoring.training.data.panel import SILENT, UNKNOWN, Panel
from services.scoring.training.fit.backtest import Backtest
from shared.kernel.arrays import Flags, Floats

LABEL_MIN: Final = 100
"""Least rows of each label: with fewer, three numbers would follow chance and nothing is fitted."""
RIDGE: Final = 10.0
"""Weight of `AS_RHYTHM` in rows: nothing beside LABEL_MIN rows, but it keeps what they do not
determine (all rhythms are equal) at its value."""
DEFAULT_CLOCK: Final = LapseClock()
NEWTON_STEPS_MAX: Final = 50
STEP_MIN: Final = 1e-9


@dataclass(frozen=True, slots=True)
class Carried:
    """The bridges for the artefact, and their description for its card."""

    over: OtherHorizons
    cards: dict[str, HorizonCard]
    lapse: HorizonCard | None
    """The card of the lapse probability; None where no silence has matured."""


def carry(past: Backtest, p: Floats, rhythm: btyd.Parameters) -> Carried:
    """Fit bridges to the other horizons of the backtest's panel.

    `p`: the score of each of its rows, as it would be used; `rhythm`: fitted to the present
    customers.
    """
    rows, main = past.rows, past.rows.horizon_days
    q = no_purchase_over(rhythm, rows.x, [*rows.others, main])
    bridges: dict[str, Bridge] = {}
    cards: dict[str, HorizonCard] = {}
    for k, days in enumerate(rows.others):
        known = rows.over[:, k] != UNKNOWN
        silent = rows.over[known, k] == SILENT
        if not len(silent):
            continue
        columns = (p[known], q[main][known], q[days][known])
        bridge, cards[str(days)] = _bridged(columns, silent, rows.weight[known])
        if bridge is not AS_RHYTHM:
            bridges[str(days)] = bridge
    lapse, card = fit_lapse(rows, p, rhythm)
    return Carried(OtherHorizons(rhythm=rhythm, bridges=bridges, lapse=lapse), cards, card)


def fit_lapse(
    rows: Panel, p: Floats, rhythm: btyd.Parameters, clock: LapseClock = DEFAULT_CLOCK
) -> tuple[Bridge, HorizonCard | None]:
    """Fit the bridge from the score to the lapse probability, and measure it on the same rows.

    Fitted where warnings are decided: on silences of customers with an own rhythm that are no
    longer ordinary, and with a lapse length that ends before the panel does. `p`: the score of each
    row.
    """
    silences = silences_of(rows.x, clock)
    rest = silences.rest
    silent = silences.own & (silences.share >= ORDINARY_SHARE) & (rest > 0)
    known = silent & (np.array(rows.cutoffs)[rows.at] + rest * DAY_S <= rows.end)
    if not known.any():
        return AS_RHYTHM, None
    x, rest, reached = rows.x[known], rest[known], rows.after[known] >= rest[known]
    times = history(x)
    columns = (
        p[known],
        btyd.no_purchase_probability(rhythm, *times, rows.horizon_days),
        btyd.no_purchase_probability(rhythm, *times, rest),
    )
    bridge, card = _bridged(columns, reached, rows.weight[known])
    error = calibration_error(reached, bridge.apply(*columns))
    return bridge, replace(card, calibration_error=error)


def _bridged(
    columns: tuple[Floats, Floats, Floats], silent: Flags, weight: Floats
) -> tuple[Bridge, HorizonCard]:
    """Fit a bridge where there are enough of both labels, and measure it on the same rows."""
    few = min(int(silent.sum()), int((~silent).sum())) < LABEL_MIN
    bridge = AS_RHYTHM if few else fit_bridge(*columns, silent, weight)
    return bridge, HorizonCard(
        rows=len(silent),
        base_rate=float(silent.mean()),
        log_loss=log_loss(silent, bridge.apply(*columns)),
        rhythm_log_loss=log_loss(silent, columns[2]),
        decision="too few of either label: as the rhythm" if few else _decision(bridge),
    )


def fit_bridge(p: Floats, q_main: Floats, q: Floats, silent: Flags, weight: Floats) -> Bridge:
    """Fit by maximum likelihood with a weak ridge towards `AS_RHYTHM`, by Newton's method."""
    z = logit(p)
    design = np.stack([np.ones_like(z), z, logit(q) - logit(q_main)])
    usual = np.array([AS_RHYTHM.intercept, AS_RHYTHM.slope, AS_RHYTHM.rhythm])
    found = usual.copy()
    for _ in range(NEWTON_STEPS_MAX):
        now = sigmoid(found @ design)
        gradient = design @ (weight * (silent - now)) - RIDGE * (found - usual)
        curvature = (design * (weight * now * (1.0 - now))) @ design.T + RIDGE * np.eye(3)
        step = np.linalg.solve(curvature, gradient)
        found = found + step
        if np.abs(step).max() < STEP_MIN:
            break
    intercept, slope, rhythm = found.tolist()
    return Bridge(intercept=intercept, slope=slope, rhythm=rhythm)


def _decision(bridge: Bridge) -> str:
    return (
        f"log-odds x {bridge.slope:.3f} {bridge.intercept:+.3f}, and {bridge.rhythm:.3f} of what "
        "the rhythm moves them"
    )
