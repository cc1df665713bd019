"""The judge's definitions once more, the slow way: customer by customer, warning by warning.

Written apart from `deploy.backtest`, so that a mistake would have to be made twice. Times are in
days, UTC.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np

MONTH: Final = 30.0
RULES: Final = (1.5, 2.0, 2.5, 3.0)
"""Usual gaps of the plain rule "silent for so many, at least a week"."""


@dataclass(frozen=True, slots=True)
class Silence:
    """From a purchase day of an established customer to the next purchase."""

    customer: str
    start: float
    lasts: float
    gap: float
    spent: float

    @property
    def length(self) -> float:
        """How long a silence is a lapse: four usual gaps, 28 to 180 days."""
        return min(180.0, max(28.0, 4 * self.gap))

    @property
    def lapse(self) -> bool:
        """Whether it became one."""
        return self.lasts >= self.length


def silences(purchases: Iterable[tuple[str, float, float]]) -> tuple[list[Silence], float]:
    """Return every silence after the fifth purchase day, and the end of the data.

    `purchases`: customer, time and amount of each.
    """
    days: dict[str, dict[int, list[tuple[float, float]]]] = defaultdict(lambda: defaultdict(list))
    for customer, at, amount in purchases:
        days[customer][int(at // 1)].append((at, max(0.0, amount)))
    found = []
    for customer, of in days.items():
        order = sorted(of)
        gaps = [float(b - a) for a, b in pairwise(order)]
        for i in range(4, len(order)):
            start = max(at for at, _ in of[order[i]])
            later = i < len(gaps)
            lasts = min(at for at, _ in of[order[i + 1]]) - start if later else np.inf
            quarter = [day for day in order if order[i] - 91 < day <= order[i]]
            spent = sum(amount for day in quarter for _, amount in of[day])
            gap = sum(gaps[max(0, i - 12) : i]) / min(i, 12)
            found.append(Silence(customer, start, lasts, gap, spent))
    return found, max(day for of in days.values() for day in of) + 1.0


def figures(of: Sequence[Silence], at: Sequence[float], per: float) -> dict[str, Any]:
    """Judge warnings: `at[i]` is how long silence `i` was, infinite where none came."""
    fired = [(s, w) for s, w in zip(of, at, strict=True) if w < s.lasts and w < s.length]
    timely = [(s, w) for s, w in fired if s.lapse and w // 1 <= 0.75 * s.length]
    lapses = [s for s in of if s.lapse]
    return {
        "warned": len(fired),
        "budget": round(100 * len(fired) / per, 2),
        "precision": _share(sum(s.lapse for s, _ in fired), len(fired)),
        "precision_in_time": _share(len(timely), len(fired)),
        "recall": _share(len(timely), len(lapses)),
        "value_recall": _share(sum(s.spent for s, _ in timely), sum(s.spent for s in lapses)),
        "at_gaps_median": _median([w / s.gap for s, w in timely], 2),
        "lead_days_median": _median([s.length - w for s, w in timely], 1),
    }


def _share(part: float, whole: float) -> float | None:
    return round(part / whole, 4) if whole else None


def _median(values: Sequence[float], digits: int) -> float | None:
    return round(float(np.median(values)), digits) if values else None


def evaluate(
    purchases: Iterable[tuple[str, float, float]],
    warnings: Sequence[tuple[str, float]],
    begin: float,
    end: float,
) -> dict[str, Any]:
    """Judge warnings (customer, time) of [begin, end), beside the plain rule."""
    every, known_to = silences(purchases)
    within = [s for s in every if begin <= s.start < end]
    counted = [s for s in within if s.start + s.length <= known_to]
    customers = len({s.customer for s in within})
    per = customers * (end - begin) / MONTH

    def rule(gaps: float) -> list[float]:
        return [max(7.0, gaps * s.gap) for s in counted]

    at, inside = _placed(counted, warnings)
    ours = figures(counted, at, per)
    return {
        "silences": len(counted),
        "customers": customers,
        "lapses": sum(s.lapse for s in counted),
        "outside": len(warnings) - inside,
        "ours": ours,
        "as_often": _as_often(lambda gaps: figures(counted, rule(gaps), per), ours["warned"]),
        "by_spending": figures(counted, _best(counted, rule(3.0), ours["warned"]), per),
        "rules": {gaps: figures(counted, rule(gaps), per) for gaps in RULES},
    }


def _placed(
    counted: Sequence[Silence], warnings: Sequence[tuple[str, float]]
) -> tuple[list[float], int]:
    """Return how long each silence was at its first warning, and how many lie in one."""
    by_customer: dict[str, list[float]] = defaultdict(list)
    for customer, when in warnings:
        by_customer[customer].append(when)
    lying = [
        [when for when in by_customer[s.customer] if s.start <= when < s.start + s.lasts]
        for s in counted
    ]
    at = [min(when, default=np.inf) - s.start for s, when in zip(counted, lying, strict=True)]
    return at, sum(map(len, lying))


def _as_often(judged: Callable[[float], dict[str, Any]], target: int) -> dict[str, Any]:
    """Return the plain rule with as many warnings: of fewer gaps, or of three and thinned."""
    full = judged(3.0)
    if target >= full["warned"]:
        low, high = 0.2, 3.0
        for _ in range(40):
            middle = (low + high) / 2
            low, high = (middle, high) if judged(middle)["warned"] > target else (low, middle)
        return {"k": round(high, 3), **judged(high)}
    part = target / full["warned"]
    thinned = {
        name: None if full[name] is None else round(full[name] * part, 4)
        for name in ("recall", "value_recall")
    }
    fewer = {"warned": target, "budget": round(full["budget"] * part, 2), **thinned}
    return {"k": 3.0, "thinned_to": round(part, 3), **full, **fewer}


def _best(counted: Sequence[Silence], at: Sequence[float], most: int) -> list[float]:
    """Keep the warnings of those who spent most."""
    fired = [
        i for i, (s, w) in enumerate(zip(counted, at, strict=True)) if w < s.lasts and w < s.length
    ]
    best = set(sorted(fired, key=lambda i: -counted[i].spent)[:most])
    return [w if i in best else np.inf for i, w in enumerate(at)]
