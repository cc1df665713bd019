"""Was it right? The warnings held against what the customers then did, from the dataset alone.

A warning says: no purchase within the horizon that follows. It was right when that came true.
How good that is shows only beside those who were not warned: the base rate is the same share
among all customers who were equally active on the same days. Nothing here asks the services.

Times are UTC, durations days, shares 0-1. A warning counts as one trial, also where a customer
was warned twice.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

DAY_S = 86_400.0
Z_95 = 1.959964
"""Two-sided 95 % quantile of the normal distribution."""

SILENCE_TOLERANCE_DAYS = 1.0
"""How alike days of silence must be in the stricter comparison: one day either way leaves tens
of customers in each group."""

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


class Warned(NamedTuple):
    """A customer was warned of, at an instant of business time (UTC)."""

    customer: str
    at: datetime


class Quartiles(NamedTuple):
    """The middle of a distribution, and of its halves."""

    lower: float
    median: float
    upper: float


@dataclass(frozen=True, slots=True)
class Judgement:
    """What became of the warnings. None where there is nothing to divide by."""

    horizon_days: int
    warnings: int
    """All of them."""
    too_late_to_tell: int
    """Left out: their horizon reaches beyond the data."""
    already_silent: int
    """Left out: no purchase within the horizon before the warning, so not a warning in time."""
    judged: int
    stayed_silent: int
    precision: float | None
    precision_low: float | None
    """With `precision_high`, the Wilson 95 % interval of `precision`."""
    precision_high: float | None
    base_rate: float | None
    """Share that stayed silent among all active customers, on the days of the warnings."""
    lift: float | None
    base_rate_same_silence: float | None
    """Stricter: among those who had been silent for just as many days (within one)."""
    lift_same_silence: float | None
    days_before_rule: Quartiles | None
    """Over those who stayed silent: days from the warning to the moment at which a
    rule "nothing bought for one horizon" would have noticed."""


class Trial(NamedTuple):
    """One warning that can be judged, with the shares it is to be compared with."""

    stayed_silent: bool
    base: float
    base_same_silence: float
    days_before_rule: float


def judge(
    purchases: pl.DataFrame, warnings: Sequence[Warned], horizon_days: int, data_end: datetime
) -> Judgement:
    """Hold `warnings` against `purchases`, which are complete until `data_end`.

    `purchases` has `customer` (text) and `time` (UTC without a zone). Silent means no purchase
    in (warning, warning + horizon]; active means one in (warning - horizon, warning].
    """
    in_time = [w for w in warnings if w.at + timedelta(days=horizon_days) <= data_end]
    trials = list(_trials(Timelines(purchases), in_time, horizon_days * DAY_S))
    silent = [t for t in trials if t.stayed_silent]
    precision = len(silent) / len(trials) if trials else None
    low, high = wilson(len(silent), len(trials)) if trials else (None, None)
    base = float(np.mean([t.base for t in trials])) if trials else None
    same = float(np.mean([t.base_same_silence for t in trials])) if trials else None
    before = [t.days_before_rule for t in silent]
    quartiles = np.quantile(before, (0.25, 0.5, 0.75)).tolist() if before else None
    return Judgement(
        horizon_days=horizon_days,
        warnings=len(warnings),
        too_late_to_tell=len(warnings) - len(in_time),
        already_silent=len(in_time) - len(trials),
        judged=len(trials),
        stayed_silent=len(silent),
        precision=precision,
        precision_low=low,
        precision_high=high,
        base_rate=base,
        lift=_ratio(precision, base),
        base_rate_same_silence=same,
        lift_same_silence=_ratio(precision, same),
        days_before_rule=Quartiles(*quartiles) if quartiles else None,
    )


def wilson(successes: int, trials: int, z: float = Z_95) -> tuple[float, float]:
    """The score interval of a share (Wilson 1927, JASA 22:209); `trials` >= 1.

    >>> [round(bound, 4) for bound in wilson(8, 10)]
    [0.4902, 0.9433]
    """
    share, square = successes / trials, z * z / trials
    centre = (share + square / 2) / (1 + square)
    half = z * math.sqrt(share * (1 - share) / trials + square / (4 * trials)) / (1 + square)
    return centre - half, centre + half


class Timelines:
    """Every customer's purchases, for looking back and ahead from an instant."""

    def __init__(self, purchases: pl.DataFrame) -> None:
        """`purchases` has `customer` and `time`; at least one row."""
        ordered = purchases.sort("customer", "time")
        times = ordered["time"].dt.epoch("us").to_numpy() / 1e6
        names = ordered["customer"].unique(maintain_order=True)
        counts = ordered.group_by("customer", maintain_order=True).len()["len"].to_numpy()
        self.index: dict[str, int] = {name: i for i, name in enumerate(names)}
        self._padded = np.concatenate([[-np.inf], times, [np.inf]])
        self._ends = np.cumsum(counts)
        self._starts = self._ends - counts
        # Customers one after the other on a single axis, so that one search serves them all.
        self._first, self._span = float(times.min()), float(np.ptp(times)) + 1.0
        self._offsets = np.arange(len(counts)) * self._span
        self._axis = np.repeat(self._offsets, counts) + times - self._first

    def around(self, at: float) -> tuple[Array, Array]:
        """Each customer's last purchase at or before `at` and the first one after it.

        Unix seconds; -inf and inf where there is none.
        """
        place = min(max(at - self._first, -1.0), self._span - 0.5)
        split = np.searchsorted(self._axis, self._offsets + place, side="right")
        last = np.where(split > self._starts, self._padded[split], -np.inf)
        following = np.where(split < self._ends, self._padded[split + 1], np.inf)
        return last, following


def _trials(timelines: Timelines, warnings: Sequence[Warned], horizon_s: float) -> Iterator[Trial]:
    for instant, group in groupby(sorted(warnings, key=lambda w: w.at), key=lambda w: w.at):
        at = instant.timestamp()
        last, following = timelines.around(at)
        active: Mask = last > at - horizon_s
        silent: Mask = following > at + horizon_s
        base = float(silent[active].mean()) if active.any() else 0.0
        for warned in group:
            i = timelines.index.get(warned.customer)
            if i is None or not active[i]:
                continue
            as_silent = active & (np.abs(last - last[i]) <= SILENCE_TOLERANCE_DAYS * DAY_S)
            yield Trial(
                stayed_silent=bool(silent[i]),
                base=base,
                base_same_silence=float(silent[as_silent].mean()),
                days_before_rule=float(last[i] + horizon_s - at) / DAY_S,
            )


def _ratio(share: float | None, base: float | None) -> float | None:
    return share / base if share is not None and base else None
