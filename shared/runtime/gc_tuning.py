"""Tunes the garbage collector for a process that works in batches."""

import gc
from typing import Final

YOUNG_OBJECTS: Final = 50_000
"""Containers made before the collector examines the young ones. A batch of 2,000 events makes more
than the default of 700 dozens of times, and frees nearly all of them itself at its end: with the
default a seventh of the time was spent on examining."""


def spare_collector() -> None:
    """Call once everything that stays is loaded: the collector then never examines it again.

    The rest is examined less often. Cycles are still found.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, 10, 10)
