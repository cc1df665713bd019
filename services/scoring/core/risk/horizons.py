"""Several horizons from one score: not only whether a customer stays away, but for how long.

What it is for: the probability of silence over other horizons than the one that a model was
trained on. Whoever buys nothing for 60 days buys nothing for 30, so the probability never rises
with the horizon. The main horizon's number is never touched.

The score knows more of the customer than purchase days do, a buy-till-you-die model knows how
silence wears on over time: with p of the main horizon H, q the buy-till-you-die model's,

    logit p(h) = intercept + slope logit p(H) + rhythm (logit q(h) - logit q(H))

`Bridge()` moves the odds just as the customer's own rhythm does; training fits the three numbers
of a horizon where its labels have matured (docs/decisions/0013).
"""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from services.scoring.core.risk.odds import logit, sigmoid

Floats = NDArray[np.float64]

HORIZON_DAYS_MAX: Final = 3_650
"""Ten years; nobody asks for more, and a stored purchase day is seven years old at most."""
WIDTH: Final = 16
"""Bytes of one stored horizon: days and probability, little-endian float64 each."""


class Bridge(msgspec.Struct, frozen=True, kw_only=True):
    """From the main horizon's log-odds to those of another one."""

    intercept: float = 0.0
    slope: float = 1.0
    rhythm: float = 1.0

    def apply(self, p: Floats, q_main: Floats, q: Floats) -> Floats:
        """The other horizon's probability; all of shape [n]."""
        moved = logit(q) - logit(q_main)
        return sigmoid(self.intercept + self.slope * logit(p) + self.rhythm * moved)

    def apply_or_one(self, p: Floats, q_main: Floats, q: Floats, rest: Floats) -> Floats:
        """As `apply`, over `rest` days of each row; 1 where no day is left."""
        return np.where(rest > 0.0, self.apply(p, q_main, q), 1.0)


AS_RHYTHM: Final = Bridge()
"""Where nothing was fitted."""


def coherent(by_horizon: Mapping[int, Floats], main: int) -> dict[int, Floats]:
    """Horizon in days -> probability of silence over it, never rising with the horizon.

    All columns are of the same customers. Longer horizons than `main` are held below the next
    shorter one, shorter ones above the next longer one.
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
    """`coherent`, as float64[n, k] in the order of `days`, which are all in `by_horizon`."""
    found = coherent(by_horizon, main)
    return np.stack([found[one] for one in days], axis=1)


def asked(others: Sequence[int], main: int) -> tuple[int, ...]:
    """The horizons that are told: the main one among the others, ascending."""
    return tuple(sorted({*others, main}))


def pack(days: Sequence[int], p: Floats) -> list[bytes]:
    """The stored form of each row of p, float64[n, k]: k pairs of days and probability."""
    pairs = np.empty((len(p), len(days), 2), "<f8")
    pairs[:, :, 0] = days
    pairs[:, :, 1] = p
    packed, width = pairs.tobytes(), WIDTH * len(days)
    return [packed[at * width : (at + 1) * width] for at in range(len(p))]


def unpack(packed: bytes | None) -> dict[int, float]:
    """Days -> probability, as `pack` stored it; empty where nothing was stored."""
    pairs = np.frombuffer(packed or b"", "<f8").reshape(-1, 2)
    return {int(days): p for days, p in pairs.tolist()}
