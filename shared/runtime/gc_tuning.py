"""The garbage collector of a process that works in batches."""

import gc
from typing import Final

YOUNG_OBJECTS: Final = 50_000
"""Containers made before the collector looks at the young ones. A batch of 2,000 events makes more
than the default of 700 dozens of times, and lets nearly all of them go by itself at its end: with
the default a seventh of the time went into looking."""


def spare_collector() -> None:
    """Call once everything that stays is loaded: it is never looked at again, and the rest less
    often. Cycles are still found."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, 10, 10)
