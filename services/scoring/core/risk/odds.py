"""Conversion between probabilities and log-odds."""

from typing import Final

import numpy as np

from shared.kernel.arrays import Floats

MARGIN: Final = 1e-12
"""Distance that probabilities keep from 0 and 1 before their odds are taken."""


def sigmoid(z: Floats) -> Floats:
    """1 / (1 + e^-z), without overflow at either end."""
    e = np.exp(-np.abs(z))
    return np.where(z >= 0.0, 1.0, e) / (1.0 + e)


def logit(p: Floats) -> Floats:
    """log(p / (1 - p)), with p kept `MARGIN` away from 0 and 1."""
    q = np.clip(p, MARGIN, 1.0 - MARGIN)
    return np.log(q) - np.log1p(-q)
