"""Horizons and test cutoffs of the public sets, fixed before any model was fitted.

`reference` quotes an earlier study of the same customers at the same cutoffs: its best simple model
and its LightGBM on a panel with 98 features. The quotes are printed beside our figures and have no
other use.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

Figures = Mapping[str, float | None]
SHOWN: Final = ("roc_auc", "pr_auc", "brier", "log_loss", "ece", "lift_at_10")


@dataclass(frozen=True, slots=True)
class Protocol:
    """How one set is measured."""

    horizon_days: int
    tests: tuple[str, ...]
    """Test cutoffs, UTC dates; everything is learned before each of them."""
    reference: Mapping[str, Mapping[str, Figures]] = field(default_factory=dict)
    """Subset -> name of a model of the study -> its measures."""


def _figures(*values: float | None) -> Figures:
    return dict(zip(SHOWN, values, strict=True))


PROTOCOLS: Final[Mapping[str, Protocol]] = {
    "cdnow": Protocol(
        horizon_days=91,
        tests=("1997-12-31", "1998-02-14", "1998-04-01"),
        reference={
            "all": {
                "study recency": _figures(0.8093, 0.9470, 0.1106, 0.3615, 0.055, 1.140),
                "study RFM logistic": _figures(0.8184, 0.9488, 0.0998, 0.3315, 0.022, 1.141),
                "study BG/NBD": _figures(0.8089, 0.9384, 0.0995, 0.3343, 0.020, 1.114),
                "study LightGBM": _figures(0.8218, 0.9490, 0.0979, 0.3259, 0.013, 1.138),
            },
            "active": {
                "study RFM logistic": _figures(0.7146, 0.7121, 0.2158, 0.6207, 0.043, 1.508),
                "study BG/NBD": _figures(0.7155, 0.7116, 0.2141, 0.6169, 0.034, 1.493),
                "study LightGBM": _figures(0.7213, 0.7134, 0.2114, 0.6103, 0.027, 1.498),
            },
        },
    ),
    "completejourney": Protocol(
        horizon_days=28,
        tests=("2017-09-24", "2017-10-22", "2017-11-19", "2017-12-03"),
        reference={
            "all": {
                "study recency": _figures(0.8203, 0.5505, 0.1098, 0.3601, 0.020, 3.65),
                "study RFM logistic": _figures(0.8718, 0.5939, 0.1063, 0.3347, 0.046, 3.62),
                "study BG/NBD": _figures(0.8716, 0.5916, 0.1032, 0.3322, 0.025, 3.64),
                "study LightGBM": _figures(0.8889, 0.613, 0.0981, 0.3052, 0.019, 3.80),
            },
            "active": {
                "study RFM logistic": _figures(0.8478, 0.3736, 0.0763, 0.2551, 0.031, 4.00),
                "study BG/NBD": _figures(0.8428, 0.3647, 0.0752, 0.2520, 0.016, 4.01),
                "study LightGBM": _figures(0.8690, 0.3928, 0.0722, 0.2361, 0.013, 4.27),
            },
        },
    ),
    "online_retail_ii": Protocol(
        horizon_days=90,
        tests=("2011-03-01", "2011-06-01"),
        reference={
            # The study also used a later cutoff, so the customers are not exactly the same.
            "all": {
                "study recency": _figures(0.757, None, None, 0.584, 0.091, None),
                "study RFM logistic": _figures(0.797, None, None, 0.550, 0.106, None),
                "study BG/NBD": _figures(0.805, None, None, 0.518, 0.069, None),
                "study LightGBM": _figures(0.808, None, None, 0.540, 0.111, None),
            },
        },
    ),
    "clvtools_apparel": Protocol(horizon_days=180, tests=("2008-01-01", "2009-01-01")),
}
