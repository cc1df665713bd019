"""The needs of a customer, from the profile, from behaviour and from purchased categories.

`price_sensitive`, `service_sensitive`, `household` and `enterprise` can be used in rules. A need in
the profile always counts; behaviour and categories (`affinity`) add needs and never remove one.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np

from services.scoring.core.features.registry import column
from shared.contracts.events import Profile
from shared.kernel.arrays import Flags, Floats

WORDS_MAX: Final = 20
"""Needs kept per customer."""
COMPLAINTS_PER_PURCHASE: Final = 0.1
"""A complaint or suggestion per ten purchases: service matters to this customer."""
VOICES_MIN: Final = 2
"""Once is an incident."""


REDEMPTIONS_PER_PURCHASE: Final = 0.2
"""An offer used at every fifth purchase: the price decides."""
REDEMPTIONS_MIN: Final = 2


def price_sensitive(x: Floats) -> Flags:
    """bool[n]: the customer uses offers and coupons often, relative to their purchases."""
    used = column(x, "campaigns_redeemed")
    purchases = np.maximum(column(x, "purchases"), 1)
    return np.asarray((used >= REDEMPTIONS_MIN) & (used / purchases >= REDEMPTIONS_PER_PURCHASE))


def service_sensitive(x: Floats) -> Flags:
    """bool[n]: the customer complains or suggests often, relative to their purchases."""
    voices = column(x, "complaints") + column(x, "suggestions")
    purchases = np.maximum(column(x, "purchases"), 1)
    return np.asarray((voices >= VOICES_MIN) & (voices / purchases >= COMPLAINTS_PER_PURCHASE))


def needs(
    profiles: Sequence[Profile | None], seen: Sequence[tuple[str, Flags]]
) -> list[tuple[str, ...]]:
    """Return sorted words per customer; `seen`: (need, bool[n]), once for each source of a need."""
    found: list[tuple[str, ...]] = [()] * len(profiles)
    some = np.array([profile is not None for profile in profiles], np.bool_)
    for _, flags in seen:
        some |= flags
    # Most customers have none.
    for row in np.flatnonzero(some).tolist():
        words, profile = {need for need, flags in seen if flags[row]}, profiles[row]
        if profile is not None:
            words.update(_word(need) for need in profile.needs)
            words.add("enterprise" if profile.kind == "account" else "household")
        words.discard("")
        found[row] = tuple(sorted(words)[:WORDS_MAX])
    return found


def _word(need: str) -> str:
    """Return the word as rules compare it: lower case, `_` between words."""
    return "_".join(need.lower().replace("-", " ").split())
