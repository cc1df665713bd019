"""A planted world for the uplift tests: customers with known effects of three playbooks.

It was fixed before any score was looked at. Warned customers have the features that scoring
publishes, in skewed units and with gaps as in real files. The probability of coming back falls with
the risk; what a playbook adds depends on the customer and, in part, on nothing that is known:

- `call` helps those who still interact, and is wasted on those who are nearly gone;
- `offer` helps those who used campaigns before, and no one else;
- `mail` adds little, and nothing known about a customer makes a difference.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import numpy as np

from services.alerts.core.uplift.learner import learn
from services.alerts.core.uplift.subjects import UpliftSubjects
from shared.contracts.feature_row import NAMES, VERSION, FeatureRow
from shared.kernel.arrays import Flags, Floats, Ints
from tests.unit.alerts.samples import day

PLAYBOOKS: Final = ("call", "offer", "mail")
TRIALS: Final = 8_000
DAYS: Final = 360
"""Length of the history of trials."""
SHARE: Final = 0.25
"""Held out."""
CUSTOMERS: Final = 4_000
"""Customers to choose among, after the history."""
BUDGET: Final = 0.5
"""Share of them that can be warned about."""


@dataclass(frozen=True, slots=True)
class Crowd:
    """Customers with what is known and what is not: columns of length n."""

    features: Floats
    """float64[n, p] in the units of scoring; NaN: not known."""
    playbook: Ints
    """Position in `PLAYBOOKS`."""
    risk: Floats
    """Probability of a lapse, as scoring publishes it."""
    value: Floats
    """Expected value, reporting currency."""
    returns: Floats
    """P(bought again | held out): hidden."""
    effect: Floats
    """P(bought again | treated) - P(bought again | held out): hidden."""
    steady: Flags
    """Hardly at risk: hidden."""


STEADY: Final = -0.7
"""Customers below this are hardly at risk: those whom a task may disturb."""


def crowd(
    chance: np.random.Generator,
    n: int,
    *,
    spread: float = 1.0,
    shift: float = 0.0,
    disturbed: float = 0.0,
) -> Crowd:
    """Return customers; `spread` 0: all of a playbook respond alike; `shift` is added to effects.

    `disturbed` is added to the effects on steady customers.

    >>> crowd(np.random.default_rng(1), 5).features.shape == (5, len(NAMES[VERSION]))
    True
    """
    contact, price, fading, size, age, mood = chance.normal(size=(6, n))
    risk = 1 / (1 + np.exp(-(0.2 + 0.9 * fading - 0.3 * contact + 0.4 * chance.normal(size=n))))
    value = np.exp(3.5 + 0.6 * size)
    prefers = np.stack([0.6 * size, 0.6 * price, np.zeros(n)]) + chance.gumbel(size=(3, n))
    playbook = prefers.argmax(axis=0)
    known = np.stack(
        [
            0.10 + spread * (0.09 * np.tanh(contact) - 0.07 * np.tanh(fading)),
            0.06 + spread * np.where(price > 0.2, 0.11, -0.08),
            np.full(n, 0.03),
        ]
    )[playbook, np.arange(n)]
    effect = known + shift + spread * 0.03 * chance.normal(size=n)
    effect += disturbed * (fading < STEADY)
    returns = np.clip(0.75 - 0.6 * risk + 0.05 * mood, 0.03, 0.9)
    effect = np.clip(returns + effect, 0.0, 1.0) - returns
    gap = np.exp(2.7 + 0.5 * chance.normal(size=n))
    silence = np.exp(0.9 + 0.35 * fading)
    columns = {
        "recency_days": gap * silence,
        "tenure_days": np.exp(5.8 + 0.5 * age),
        "purchase_days": np.floor(np.exp(2.4 + 0.5 * age) + 2),
        "gap_mean_days": gap,
        "gap_variation": np.exp(-0.3 + 0.4 * chance.normal(size=n)),
        "silence_over_gap_mean": silence,
        "order_value_usual": np.exp(3.2 + 0.5 * size + 0.2 * chance.normal(size=n)),
        "purchases_trend_30_365": np.exp(-0.5 * fading + 0.3 * chance.normal(size=n)),
        "amount_trend_30_365": np.exp(-0.5 * fading + 0.5 * chance.normal(size=n)),
        "refund_share": _sparse(chance, chance.beta(1, 12, n), 0.1),
        "interactions_decayed_30": np.exp(1.0 + 0.9 * contact + 0.3 * chance.normal(size=n)),
        "interactions_trend_30_365": _sparse(chance, np.exp(0.4 * contact - 0.2 * fading), 0.2),
        "complaints": chance.poisson(np.exp(-1.5 - 0.4 * mood)).astype(np.float64),
        "survey_score": _sparse(chance, np.clip(np.round(7 + 2 * mood), 0, 10), 0.6),
        "campaign_response": _sparse(chance, 1 / (1 + np.exp(1.0 - 1.2 * price)), 0.15),
        "online_share": chance.beta(0.7, 0.7, n),
        "lapse_probability": risk,
    }
    features = np.stack([columns[name] for name in NAMES[VERSION]], axis=1)
    return Crowd(features, playbook, risk, value, returns, effect, fading < STEADY)


def _sparse(chance: np.random.Generator, values: Floats, missing: float) -> Floats:
    return np.where(chance.random(len(values)) < missing, np.nan, values)


def trials(chance: np.random.Generator, people: Crowd, share: float = SHARE) -> UpliftSubjects:
    """Return the measured trials of these customers, in the order of time."""
    n = len(people.playbook)
    treated = chance.random(n) >= share
    returned = chance.random(n) < people.returns + treated * people.effect
    at = np.sort(chance.random(n)) * DAYS
    return UpliftSubjects(
        features=people.features,
        playbook=np.array(PLAYBOOKS, np.object_)[people.playbook],
        treated=treated,
        propensity=np.full(n, 1 - share),
        returned=returned,
        at=np.array([(day(0) + timedelta(days=float(d))).timestamp() for d in at]),
    )


def saved(people: Crowd, score: Floats, budget: float = BUDGET) -> float:
    """Return the value that tasks about the best of `score` save, per customer of the crowd."""
    chosen = np.argsort(-score, kind="stable")[: round(budget * len(score))]
    return float((people.value * people.effect)[chosen].sum()) / len(score)


def row_of(values: Floats) -> FeatureRow:
    """Return a customer's features as they are published."""
    return FeatureRow(VERSION, [None if np.isnan(v) else float(v) for v in values])


@dataclass(frozen=True, slots=True)
class Compared:
    """What rankings save of what an oracle would, by value x effect; risk and chance by themselves.

    `counted`: the same two in customers instead of value.
    """

    learned: float
    rate: float
    risk: float
    chance: float
    counted: tuple[float, float]


def compared(seed: int, n: int = TRIALS) -> Compared:
    """Return the comparison in one world, with effects learned from `n` trials, without a gate."""
    chance = np.random.default_rng(seed)
    history, people = trials(chance, crowd(chance, n)), crowd(chance, CUSTOMERS)
    found = learn(history, list(PLAYBOOKS))
    z = found.encode(people.features)
    own, rate = np.empty(len(z)), np.empty(len(z))
    for number, name in enumerate(PLAYBOOKS):
        rows = people.playbook == number
        own[rows] = found.effects[name].predict(z[rows])
        rate[rows] = found.effects[name].mean

    def share(score: Floats) -> float:
        return saved(people, score) / saved(people, people.value * people.effect)

    def count(score: Floats) -> float:
        best = np.argsort(-people.effect)[: round(BUDGET * CUSTOMERS)]
        chosen = np.argsort(-score, kind="stable")[: round(BUDGET * CUSTOMERS)]
        return float(people.effect[chosen].sum() / people.effect[best].sum())

    return Compared(
        learned=share(people.value * own),
        rate=share(people.value * rate),
        risk=share(people.risk),
        chance=share(chance.random(CUSTOMERS)),
        counted=(count(own), count(rate)),
    )
