"""Training rows without leakage: what was known at many past cutoffs, and what came after.

States are folded by the streaming kernel from cutoff to cutoff, so a row at a cutoff is made
of the events before it and nothing else; the label is made of the horizon after it and
nothing else. It never takes a cutoff whose horizon has not been observed to its end.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from services.scoring.core.events import DAY_S
from services.scoring.core.features import features
from services.scoring.core.fold import fold
from services.scoring.core.registry import FEATURES, feature_index
from services.scoring.core.state import empty
from services.scoring.training.table import EventTable
from shared.kernel.errors import Invalid

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

Progress = Callable[[str, int, int], None]
"""(what is being done, steps done, steps in all)."""

ROWS_MAX = 500_000
"""Rows of one panel: about 250 MB of features, which leaves LightGBM room in 2 GB. Beyond it
every cutoff keeps the same share of its customers (thinning costs little, cutoffs are worth
more than customers)."""
FEATURE_ROWS_MAX = 20_000
"""Rows whose features are computed in one go: keeps the kernel's scratch space below 100 MB."""
SUBSETS = ("all", "ge2", "active")


def no_progress(_what: str, _done: int, _total: int) -> None:
    """Tells nobody."""


@dataclass(frozen=True, slots=True)
class Panel:
    """n rows: one customer at one cutoff each, oldest cutoff first."""

    x: Floats
    """float64[n, F], columns as in the registry."""
    silent: Bools
    """bool[n]: no purchase in [cutoff, cutoff + horizon)."""
    at: Ints
    """int64[n]: index into `cutoffs`."""
    customer: Ints
    """int64[n]: index into the table's customers."""
    weight: Floats
    """float64[n]: 1, and more where a held-out customer stands for treated ones."""
    cutoffs: tuple[float, ...]
    """Unix seconds, UTC, ascending."""
    horizon_days: int
    rows_thinned: int
    """Eligible rows that were left out to stay within the bound."""

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.silent)

    def matured(self, end: float) -> "Panel":
        """The rows whose whole horizon lies before `end` (unix seconds)."""
        kept = sum(cutoff + self.horizon_days * DAY_S <= end for cutoff in self.cutoffs)
        return self.between(0, kept)

    def between(self, first: int, last: int) -> "Panel":
        """The rows of cutoffs[first:last]."""
        start, stop = np.searchsorted(self.at, [first, last], side="left")
        return replace(
            self,
            x=self.x[start:stop],
            silent=self.silent[start:stop],
            at=self.at[start:stop] - first,
            customer=self.customer[start:stop],
            weight=self.weight[start:stop],
            cutoffs=self.cutoffs[first:last],
        )

    def only(self, chosen: Sequence[int]) -> "Panel":
        """The rows of the cutoffs at these ascending indices."""
        rows = np.isin(self.at, chosen)
        return replace(
            self,
            x=self.x[rows],
            silent=self.silent[rows],
            at=np.searchsorted(chosen, self.at[rows]),
            customer=self.customer[rows],
            weight=self.weight[rows],
            cutoffs=tuple(self.cutoffs[at] for at in chosen),
        )

    def subset(self, name: str) -> Bools:
        """Which rows belong to one of SUBSETS.

        `ge2`: at least two purchase days. `active`: the last purchase is within one horizon,
        where warnings are decided and the long-gone cannot flatter the ranking.
        """
        if name == "all":
            return np.ones(len(self), dtype=np.bool_)
        if name == "ge2":
            return self.x[:, feature_index["purchase_days"]] >= 2  # noqa: PLR2004 (its name)
        if name == "active":
            return self.x[:, feature_index["recency_days"]] <= self.horizon_days
        raise Invalid("subset", f"is one of {', '.join(SUBSETS)}, not {name}")


def build_panel(
    table: EventTable,
    cutoffs: Sequence[float],
    horizon_days: int,
    end: float,
    *,
    rows_max: int = ROWS_MAX,
    seed: int = 0,
    progress: Progress = no_progress,
) -> Panel:
    """Features and labels of every eligible customer at each cutoff (unix seconds, UTC).

    Eligible: at least one purchase before the cutoff. Cutoffs whose horizon ends after `end`
    are dropped: their labels are not known yet. Raises Invalid when none is left, or when
    `end` lies beyond what the table has observed.
    """
    if end > table.observed_until:
        raise Invalid("end", "lies after the last complete day of the history")
    kept = tuple(sorted(c for c in set(cutoffs) if c + horizon_days * DAY_S <= end))
    first = table.first_purchases()
    eligible = [np.flatnonzero(first < cutoff) for cutoff in kept]
    total = sum(map(len, eligible))
    if total == 0:
        raise Invalid("cutoffs", f"none has a customer and {horizon_days} observed days after it")
    chosen = [
        _thin(rows, len(rows) * rows_max // total if total > rows_max else len(rows), (seed, i))
        for i, rows in enumerate(eligible)
    ]
    customer = np.concatenate(chosen)
    x = np.empty((len(customer), len(FEATURES)))
    silent = np.empty(len(customer), dtype=np.bool_)
    states, before, row = empty(len(table.customers)), -np.inf, 0
    for step, (cutoff, rows) in enumerate(zip(kept, chosen, strict=True)):
        states, before = fold(states, table.between(before, cutoff)), cutoff
        for part in range(0, len(rows), FEATURE_ROWS_MAX):
            piece = rows[part : part + FEATURE_ROWS_MAX]
            x[row + part : row + part + len(piece)] = features(
                states[piece], np.full(len(piece), cutoff)
            )
        bought = table.bought(cutoff, cutoff + horizon_days * DAY_S)
        silent[row : row + len(rows)] = ~bought[rows]
        row += len(rows)
        progress("features", step + 1, len(kept))
    return Panel(
        x=x,
        silent=silent,
        at=np.repeat(np.arange(len(kept)), [len(rows) for rows in chosen]),
        customer=customer,
        weight=np.ones(len(customer)),
        cutoffs=kept,
        horizon_days=horizon_days,
        rows_thinned=total - len(customer),
    )


def every(first: float, last: float, step_days: int) -> list[float]:
    """Cutoffs from `first` on, `step_days` apart, none after `last` (unix seconds)."""
    return [
        first + i * step_days * DAY_S for i in range(int((last - first) // (step_days * DAY_S)) + 1)
    ]


def _thin(rows: Ints, keep: int, seed: tuple[int, int]) -> Ints:
    """`keep` of the rows, in order, drawn by a seeded generator; at least one."""
    if keep >= len(rows):
        return rows
    return np.sort(np.random.default_rng(seed).permutation(rows)[: max(1, keep)])
