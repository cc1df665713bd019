"""What a model says about itself: where it comes from and how good it was when measured.

The card travels inside the artefact and is part of its address. It holds no clock time:
the same data, settings and libraries give the same bytes.
"""

import msgspec

from services.scoring.core.features.contracts import Labels


class HorizonCard(msgspec.Struct, frozen=True, kw_only=True):
    """One other horizon, measured on past origins whose labels had matured."""

    rows: int
    base_rate: float
    """Share silent over it."""
    log_loss: float
    """Of the probability that is told, on the rows that its three numbers were fitted to."""
    rhythm_log_loss: float
    """Of MBG/NBD alone."""
    calibration_error: float | None = None
    """Mean distance of probability and outcome over ten bins of equal weight (ECE)."""
    decision: str
    """What was fitted, or why nothing was."""


class ModelCard(msgspec.Struct, frozen=True, kw_only=True):
    """Everything needed to judge a model, or to make it again."""

    horizon_days: int
    feature_set: int
    cutoffs: list[str]
    """Dates (UTC) at which training rows were taken, oldest first."""
    labels_end: str
    """Instant (UTC) before which every label had matured; nothing later was read."""
    rows: int
    rows_thinned: int
    """Eligible rows left out to stay within the bound on the panel."""
    customers: int
    labels: Labels = "silence"
    horizons: "dict[str, HorizonCard]" = {}
    """Other horizons that the score is carried to, by their days, and how well."""
    lapse: HorizonCard | None = None
    """The lapse probability, on silences that had matured; None where none had."""
    treatment: str = ""
    """What was done about rows that reached a task, in one sentence."""
    base_rate: float
    """Share silent among the training rows."""
    validation_cutoffs: list[str]
    """Past origins of the backtest; empty when the history was too short for one."""
    validation: dict[str, dict[str, float | int | None]]
    """`all`, `ge2`, `active` -> measures over those origins, each predicted, before
    calibration, by trees grown on labels that had matured by then. The number of trees was
    chosen on some of the same cutoffs, so they flatter very slightly."""
    trees: int
    trees_chosen_by: str
    """`early stopping on ...` or `fixed: ...` with the reason."""
    calibration_decision: str
    """Which correction was tried, what it gained where, and what was decided."""
    parameters: dict[str, float | int | str | bool]
    seed: int
    data_fingerprint: str
    libraries: dict[str, str]
