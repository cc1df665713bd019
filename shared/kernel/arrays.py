"""Names for the array types of columns and figures; shapes are written where they are used."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]
Codes = NDArray[np.int8]
"""Small numbers that stand for names: bands, grades, kinds."""
