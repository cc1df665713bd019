"""A sample of the rows that a model learned from, kept beside it: the reference for drift.

float32 keeps six digits, more than drift needs, at half the size.
"""

from typing import Final

import msgspec
import numpy as np

from services.scoring.core.features.registry import FEATURES, are_first
from shared.kernel.arrays import Floats
from shared.kernel.errors import Invalid

ROWS_MAX: Final = 2_000
"""Rows of a reference: enough to see a shift of 0.05 in a distribution (Kolmogorov-Smirnov at
0.001); 0.8 MB."""


class Reference(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Rows at the latest training cutoffs, and the model's probabilities for them."""

    features: list[str]
    values: bytes
    """float32[n, F], little-endian."""
    probability: bytes
    """float32[n]."""

    @property
    def x(self) -> Floats:
        """Return the rows, float64[n, F]."""
        values = np.frombuffer(self.values, "<f4").astype(np.float64)
        return values.reshape(-1, len(self.features))

    @property
    def p(self) -> Floats:
        """Return the probabilities, float64[n]."""
        return np.frombuffer(self.probability, "<f4").astype(np.float64)


def drawn(x: Floats, seed: int) -> Floats:
    """Draw at most `ROWS_MAX` of these rows, in their order."""
    return x[np.sort(np.random.default_rng(seed).permutation(len(x))[:ROWS_MAX])]


def dumps(x: Floats, p: Floats) -> bytes:
    """Encode a reference."""
    return msgspec.json.encode(
        Reference(
            features=[feature.name for feature in FEATURES],
            values=x.astype("<f4").tobytes(),
            probability=p.astype("<f4").tobytes(),
        )
    )


def loads(data: bytes) -> Reference:
    """Decode a reference.

    Raises Invalid unless it holds this release's features, or the first of them, in order.
    """
    try:
        found = msgspec.json.decode(data, type=Reference)
    except msgspec.MsgspecError as error:
        raise Invalid("reference", f"not a reference: {error}") from error
    if not are_first(found.features):
        raise Invalid("reference.features", "made for other features: train again")
    return found
