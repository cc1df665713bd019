"""Several horizons from one score: how probable a silence is over each of them.

The probability of silence is derived for other horizons than the one that a model was trained on.
A customer who buys nothing for 60 days buys nothing for 30, so the probability never rises with
the horizon. The main horizon's number is never changed.

The score contains more about the customer than purchase days; a buy-till-you-die model describes
how silence continues over time. With p of the main horizon H, and q of the buy-till-you-die model,

    logit p(h) = intercept + slope logit p(H) + rhythm (logit q(h) - logit q(H))

`Bridge()` moves the odds exactly as the customer's own rhythm does; training fits the three numbers
of a horizon once its labels have matured (decision 13 in docs/decisions).
"""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
import numpy as np

from services.scoring.core.risk.odds import logit, sigmoid
from shared.kernel.arrays import Floats

HORIZON_DAYS_MAX: Final = 3_650
"""Ten years: no use needs more, and a stored purchase day is seven years old at most."""
WIDTH: Final = 16
"""Bytes of one stored horizon: days and probability, little-endian float64 each."""


class Bridge(msgspec.Struct, frozen=True, kw_only=True):
    """The parameters that map the main horizon's log-odds to those of another horizon."""

    intercept: float = 0.0
    slope: float = 1.0
    rhythm: float = 1.0

    def apply(self, p: Floats, q_main: Floats, q: Floats) -> Floats:
        """Return the other horizon's probability; all arrays have shape [n]."""
        moved = logit(q) - logit(q_main)
        return sigmoid(self.intercept + self.slope * logit(p) + self.rhythm * moved)

    def apply_or_one(self, p: Floats, q_main: Floats, q: Floats, rest: Floats) -> Floats:
        """Return `apply`, over `rest` days of each row; 1 where no day is left."""
        return np.where(rest > 0.0, self.apply(p, q_main, q), 1.0)


AS_RHYTHM: Final = Bridge()
"""The bridge where nothing was fitted."""


def coherent(by_horizon: Mapping[int, Floats], main: int) -> dict[int, Floats]:
    """Return the probability of silence by horizon in days, never rising with the horizon.

    All columns are of the same customers. Horizons longer than `main` are held at or below the
    next shorter one, shorter ones at or above the next longer one.
    """
    found = {main: by_horizon[main]}
    edge = by_horizon[main]
    for days in sorted(days for days in by_horizon if days > main):
        edge = found[days] = np.minimum(edge, by_horizon[days])
    edge = by_horizon[main]
    for days in sorted((days for days in by_horizon if days < main), reverse=True):
        edge = found[days] = np.maximum(edge, by_horizon[days])
    return dict(sorted(found.items()))


def columns(by_horizon: Mapping[int, Floats], main: int, days: Sequence[int]) -> Floats:
    """Return `coherent` as float64[n, k] in the order of `days`; `by_horizon` has all of them."""
    found = coherent(by_horizon, main)
    return np.stack([found[one] for one in days], axis=1)


def horizons_to_publish(others: Sequence[int], main: int) -> tuple[int, ...]:
    """Return the published horizons, ascending: the main one and the others."""
    return tuple(sorted({*others, main}))


def pack(days: Sequence[int], p: Floats) -> list[bytes]:
    """Return the stored form of each row of p, float64[n, k]: k pairs of days and probability."""
    pairs = np.empty((len(p), len(days), 2), "<f8")
    pairs[:, :, 0] = days
    pairs[:, :, 1] = p
    packed, width = pairs.tobytes(), WIDTH * len(days)
    return [packed[at * width : (at + 1) * width] for at in range(len(p))]


def unpack(packed: bytes | None) -> dict[int, float]:
    """Return days -> probability, as `pack` stored them; empty where nothing was stored."""
    pairs = np.frombuffer(packed or b"", "<f8").reshape(-1, 2)
    return {int(days): p for days, p in pairs.tolist()}
