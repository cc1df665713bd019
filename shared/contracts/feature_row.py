"""The feature row: what scoring publishes of a customer's features with an assessment.

alerts keeps it with each trial and learns from it which customers a playbook helps. It travels as
`[version, [value, ...]]`, the values in the order of `NAMES`, rounded to four significant digits:
about 120 bytes. It holds counts, days, shares and money; never a name, an address or a text.
"""

from collections.abc import Mapping
from typing import Annotated, Final

import msgspec
from msgspec import Meta

VALUES_MAX: Final = 64
"""Most values of a row of any version: a message stays far below a kilobyte longer."""
VERSION: Final = 1
"""Version that is published. A changed meaning, order or number of values is a new version."""
LAPSE_PROBABILITY: Final = "lapse_probability"
"""The one value that is no feature of the registry but the assessment's own."""
NAMES: Final[Mapping[int, tuple[str, ...]]] = {
    1: (
        "recency_days",
        "tenure_days",
        "purchase_days",
        "gap_mean_days",
        "gap_variation",
        "silence_over_gap_mean",
        "order_value_usual",
        "purchases_trend_30_365",
        "amount_trend_30_365",
        "refund_share",
        "interactions_decayed_30",
        "interactions_trend_30_365",
        "complaints",
        "survey_score",
        "campaign_response",
        "online_share",
        LAPSE_PROBABILITY,
    ),
}
"""Version -> names of the values, as in the registry of features (`docs/features.md`: meaning and
unit). A version stays here for as long as trials with it are learned from."""


class FeatureRow(msgspec.Struct, frozen=True, array_like=True):
    """The values of one customer at an assessment; None: not known of this customer."""

    version: Annotated[int, Meta(ge=1, le=32_767)]
    values: Annotated[list[float | None], Meta(max_length=VALUES_MAX)]
