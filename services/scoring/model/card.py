"""Model card: where a model comes from and how good it was when measured.

The card is part of the artefact and of its address. It holds no clock time: the same data, settings
and libraries give the same bytes.
"""

import msgspec

from services.scoring.core.features.contracts import Labels


class HorizonCard(msgspec.Struct, frozen=True, kw_only=True):
    """Another horizon, measured on past origins with matured labels."""

    rows: int
    base_rate: float
    """Share silent over the horizon."""
    log_loss: float
    """Log loss of the published probability, on the rows that its three numbers were fitted to."""
    rhythm_log_loss: float
    """Log loss of MBG/NBD alone."""
    calibration_error: float | None = None
    """Mean distance of probability and outcome over ten bins of equal weight (ECE)."""
    decision: str
    """What was fitted, or why nothing was fitted."""


class ModelCard(msgspec.Struct, frozen=True, kw_only=True):
    """Everything needed to judge or to reproduce a model."""

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
    """Measures of the lapse probability, on silences that had matured; None where none had."""
    treatment: str = ""
    """How rows that led to a task were handled, in one sentence."""
    base_rate: float
    """Share silent among the training rows."""
    validation_cutoffs: list[str]
    """Past origins of the backtest; empty when the history was too short for one."""
    validation: dict[str, dict[str, float | int | None]]
    """`all`, `ge2`, `active` -> measures over those origins, each predicted by the blend that
    serves, of what was known by then. The number of trees and the blend were chosen on some of the
    same cutoffs, so the measures are very slightly too good."""
    trees: int
    trees_chosen_by: str
    """`early stopping on ...` or `fixed: ...` with the reason."""
    chosen: str = ""
    """The blend that serves, as `training.fit.blend` names it; empty in older artefacts."""
    chosen_by: str = ""
    """How well it and the others did on later training cutoffs."""
    parameters: dict[str, float | int | str | bool]
    seed: int
    data_fingerprint: str
    libraries: dict[str, str]
