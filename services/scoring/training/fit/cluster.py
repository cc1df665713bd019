"""Trains on a Dask cluster: the same kernel on every worker, trees grown by `lightgbm.dask`.

For histories with too many rows for one machine. Decisions (number of trees, blend, gate) are
made as usual on a panel of `panel.ROWS_MAX` rows, in pieces made by the workers; it equals the
panel of one machine to the last bit. Only the final trees then see every row, wherever it is; they
differ from those of one machine only by the histograms' bins, which each machine samples from its
own rows (`TOLERANCE`).

Workers read the spool's files: its folder must be shared by all of them. Needs
`requirements/cluster.txt`.
"""

import operator
import warnings
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import lightgbm
import numpy as np

from services.scoring.core.features.registry import FEATURES
from services.scoring.core.monitoring.treatment_weights import (
    HELD_OUT,
    TREATED,
    Weights,
    weights_of,
)
from services.scoring.training.data.disk_history import DiskHistory, table_of
from services.scoring.training.data.history import History
from services.scoring.training.data.panel import (
    Make,
    Panel,
    Piece,
    Progress,
    RowOptions,
    gather,
)
from services.scoring.training.fit.fit import Fit

TOLERANCE: Final = 0.02
"""Mean absolute difference of probabilities between the cluster's trees and one machine's: less
than the difference that another seed makes on one machine (0.029 on the tests' 200 customers)."""


class DaskCluster:
    """Implements `train.Executor` with the workers of a Dask client."""

    def __init__(self, client: Any, threads: int = 1) -> None:
        self._client = client
        self.threads = threads

    def pieces(self, history: History, make: Make, progress: Progress) -> Sequence[Piece]:
        """Make each piece of the history, which must be spooled, on a worker."""
        made = self._map(history, make)
        progress("pieces", 0, len(made))
        pieces: list[Piece] = self._client.gather(made)
        progress("pieces", len(made), len(made))
        return pieces

    def trees(
        self,
        history: History,
        panel: Panel,
        fitted: Fit,
        *,
        seed: int,
        asked: RowOptions,
    ) -> lightgbm.Booster:
        """Grow trees on every row of the history at the panel's cutoffs, without thinning.

        Rows that led to a task are weighted as in the panel, by their numbers in all rows.
        """
        import dask  # noqa: PLC0415 (only where there is a cluster)
        import dask.array  # noqa: PLC0415
        from lightgbm.dask import DaskLGBMClassifier  # noqa: PLC0415

        make = partial(
            gather,
            cutoffs=panel.cutoffs,
            horizon_days=panel.horizon_days,
            share=1.0,
            seed=seed,
            asked=replace(asked, others=()),
        )
        made = self._map(history, make)
        reached = np.sum(self._client.gather(self._client.map(_reached, made)), axis=0)
        weighed = self._client.map(_weighted, made, weights=weights_of(*reached.tolist()))
        rows = self._client.gather(self._client.map(len, weighed))
        parts = [part for part, n in zip(weighed, rows, strict=True) if n]
        counts = [n for n in rows if n]

        arrays: Any = dask.array  # untyped
        delayed: Any = getattr(dask, "delayed")  # noqa: B009 (not exported, for the type checker)

        def columns(name: str, kind: type, *shape: int) -> Any:
            found = self._client.map(operator.attrgetter(name), parts)
            pieces = [
                arrays.from_delayed(delayed(f), (n, *shape), kind)
                for f, n in zip(found, counts, strict=True)
            ]
            return arrays.concatenate(pieces)

        settings: dict[str, Any] = {k: v for k, v in fitted.parameters.items() if k != "seed"}
        model = DaskLGBMClassifier(
            client=self._client,
            n_estimators=fitted.trees,
            random_state=int(fitted.parameters["seed"]),
            tree_learner="data",
            monotone_constraints=[feature.monotone for feature in FEATURES],
            **settings,
        )
        x = columns("x", np.float64, len(FEATURES))
        silent, weight = columns("silent", np.bool_), columns("weight", np.float64)
        with warnings.catch_warnings():
            # LightGBM warns about its own default; the workers decide on threads.
            warnings.filterwarnings("ignore", "Parameter n_jobs will be ignored", UserWarning)
            model.fit(x, silent, sample_weight=weight)
        return model.booster_

    def _map(self, history: History, make: Make) -> list[Any]:
        if not isinstance(history, DiskHistory):
            raise TypeError("a cluster reads spooled files: finish the spool with in_memory_max=0")
        return list(
            self._client.map(
                _made, history.files, observed_until=history.observed_until, make=make, pure=False
            )
        )


def _made(file: Path, *, observed_until: float, make: Make) -> Piece:
    """Build one piece on one worker, by the kernel that streaming uses."""
    return make(table_of(file, observed_until))


def _reached(piece: Piece) -> tuple[int, int]:
    """Return how many rows of the piece were treated, and how many were held out."""
    arm = piece.panel.arm[piece.panel.weight > 0]
    return int((arm == TREATED).sum()), int((arm == HELD_OUT).sum())


def _weighted(piece: Piece, weights: Weights) -> Panel:
    """Return the rows that count, with their weights."""
    panel = piece.panel
    weighed = replace(panel, weight=panel.weight * weights.of(panel.arm, panel.silent))
    return weighed if np.all(weighed.weight > 0) else weighed.where(weighed.weight > 0)
