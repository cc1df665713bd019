"""The signs of leaving: codes that scoring finds and alerts acts on, the most urgent first."""

from typing import Final, Literal, get_args

SignCode = Literal[
    "complaint_open", "satisfaction_low", "recommendation_low", "contract_ending",
    "slipping_again", "silence_beyond_rhythm", "frequency_falling", "interaction_falling",
    "value_falling", "new_and_quiet",
    "points_expiring", "level_lowered",
]  # fmt: skip
"""A sign that scoring may send, the most urgent first: statements of the customer, then known
facts, then what the numbers suggest."""
URGENCY: Final[tuple[SignCode, ...]] = get_args(SignCode)
SILENCE: Final[frozenset[str]] = frozenset(
    {"slipping_again", "silence_beyond_rhythm", "new_and_quiet"}
)
"""Signs about the present silence: a purchase ends it, and with it their warning."""
