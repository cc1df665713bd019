"""What a fit shows for one customer: the effect of a playbook, and the worth of a task."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from services.alerts.core.policy_document import Playbook
from services.alerts.core.uplift.fit import PlaybookEffect, UpliftFit
from services.alerts.core.uplift.subjects import aligned
from shared.contracts.feature_row import VERSION, FeatureRow
from shared.contracts.risk import RiskAssessed
from shared.kernel.arrays import Floats

Z_OWN: Final = 2.5758293035489004
"""The normal distribution's 99.5 % quantile: a 99 % interval, since many customers are asked about,
and one in twenty would seem to be harmed by chance."""
WEIGHT_MAX: Final = 10.0
"""Most times that an effect raises a customer's value in the budget's ranking."""


@dataclass(frozen=True, slots=True)
class CustomerEffect:
    """The effect of a playbook on a customer: P(bought again), treated minus left alone."""

    value: float
    low: float
    """Ends of its interval: 99 % for a customer's own; for a rate 95 %, valid at any time."""
    high: float
    own: bool
    """True: learned for this customer; False: the playbook's rate."""

    @property
    def harms(self) -> bool:
        """Whether the effect is clearly not above 0."""
        return self.high <= 0


@dataclass(frozen=True, slots=True)
class _Weights:
    """The weights of a playbook as arrays."""

    centre: Floats
    weights: Floats
    covariance: Floats


class ServedEffects:
    """The fit in force, ready to be asked. `version`: number of the stored fit."""

    def __init__(self, version: int, fit: UpliftFit) -> None:
        self.version, self.fit = version, fit
        self._rates: Mapping[str, PlaybookEffect] = {p.playbook: p for p in fit.playbooks}
        # A fit on rows of another version serves its rates until the next fit.
        known = fit.feature_version == VERSION and fit.encoding is not None
        self._learned = {
            p.playbook: _Weights(np.array(p.centre), np.array(p.weights), np.array(p.covariance))
            for p in fit.playbooks
            if known and p.weights
        }

    @property
    def serves(self) -> bool:
        """Whether effects of single customers serve, and not the playbooks' rates alone."""
        return bool(self._learned)

    def of(self, row: FeatureRow | None, playbook: str) -> CustomerEffect | None:
        """Return the effect on a customer; None where nothing was measured of the playbook.

        `row` is None for an assessment without features.
        """
        rate, learned = self._rates.get(playbook), self._learned.get(playbook)
        if rate is None:
            return None
        if learned is None or row is None or self.fit.encoding is None:
            return CustomerEffect(rate.rate, rate.low, rate.high, own=False)
        values = np.array([aligned(row.version, row.values)])
        if np.isnan(values).all():
            return CustomerEffect(rate.rate, rate.low, rate.high, own=False)
        away = self.fit.encoding(values)[0] - learned.centre
        value = float(rate.mean + away @ learned.weights)
        half = Z_OWN * float(np.sqrt(rate.mean_variance + away @ learned.covariance @ away))
        return CustomerEffect(value, value - half, value + half, own=True)

    def saves(self, message: RiskAssessed, playbook: Playbook) -> float:
        """Return the probability that a task keeps this customer; a harm counts as 0.

        Nothing measured of the playbook: its assumed save rate.
        """
        effect = self.of(message.feature_row, playbook.id)
        return playbook.save_rate if effect is None else min(max(effect.value, 0.0), 1.0)


def budget_value(message: RiskAssessed, playbook: Playbook, effects: ServedEffects | None) -> float:
    """Return the value by which the budget ranks a customer, reporting currency.

    It is the expected value, times the effect on the customer as a multiple of the typical effect
    once such effects serve: so the unit of the level stays the same.
    """
    if effects is None or not effects.serves or not effects.fit.typical > 0:
        return message.expected_value
    weight = min(effects.saves(message, playbook) / effects.fit.typical, WEIGHT_MAX)
    return message.expected_value * weight


def worth(
    message: RiskAssessed,
    playbook: Playbook,
    effects: ServedEffects | None,
    save_rates: Mapping[str, float],
) -> float:
    """Return the expected saved value of a task, which orders a queue; reporting currency.

    Once effects of single customers serve it is expected value x effect: the effect on a customer
    contains how likely the customer was to leave. Until then it is value at risk x the playbook's
    save rate, measured or assumed.
    """
    if effects is not None and effects.serves:
        return message.expected_value * effects.saves(message, playbook)
    return message.value_at_risk * save_rates.get(playbook.id, playbook.save_rate)
