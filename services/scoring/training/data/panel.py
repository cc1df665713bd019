"""Builds training rows without leakage: features at past cutoffs, labels from the horizon after.

States are folded by the streaming kernel from cutoff to cutoff, so a row at a cutoff is made of the
events before it and nothing else; the label is made of the horizon after it and nothing else. A
cutoff is used only if its horizon was observed to its end.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

import numpy as np

from services.scoring.core.features import contracts
from services.scoring.core.features.compute import features
from services.scoring.core.features.contracts import Labels
from services.scoring.core.features.events import DAY_S
from services.scoring.core.features.fold import fold
from services.scoring.core.features.registry import FEATURES, column
from services.scoring.core.features.stable_hash import stable_hash
from services.scoring.core.features.state import empty
from services.scoring.core.monitoring.treatment_weights import TreatmentWindow, treatments_of, weigh
from services.scoring.training.data.event_table import EventTable, mixed
from services.scoring.training.data.history import History
from shared.kernel.arrays import Codes, Flags, Floats, Ints
from shared.kernel.errors import Invalid

Progress = Callable[[str, int, int], None]
"""(what is being done, steps done, steps in all)."""

ROWS_MAX = 500_000
"""Rows of one panel: about 250 MB of features, which leaves LightGBM room in 2 GB. Beyond it
every cutoff keeps the same share of its customers (thinning costs little, cutoffs are worth
more than customers)."""
FEATURE_ROWS_MAX = 20_000
"""Rows processed at once: keeps the kernel's scratch space below 100 MB."""
SUBSETS = ("all", "ge2", "active")
PER_ROW: Final = ("x", "silent", "at", "customer", "weight", "arm", "over", "after")
"""Columns of a panel."""
RETURNED, SILENT, UNKNOWN = 0, 1, -1
"""Outcome of a row over another horizon; unknown where that horizon was not over at the end."""


def one_label(silent: Flags) -> bool:
    """Return whether there are no rows, or only one label."""
    return bool(silent.all() or not silent.any())


def no_progress(_what: str, _done: int, _total: int) -> None:
    """Ignore the progress."""


@dataclass(frozen=True, slots=True)
class RowOptions:
    """Options of the rows besides silence over the main horizon."""

    treated: Sequence[TreatmentWindow] = ()
    """Treatments of customers."""
    others: tuple[int, ...] = ()
    """Other horizons to label, days."""
    labels: Labels = "silence"
    """`contractual`: churn is the end of a contract, among customers with one running at the
    cutoff."""


PLAIN: Final = RowOptions()


@dataclass(frozen=True, slots=True)
class Panel:
    """n rows: one customer at one cutoff each, oldest cutoff first."""

    x: Floats
    """float64[n, F], columns as in the registry."""
    silent: Flags
    """bool[n]: no purchase in [cutoff, cutoff + horizon)."""
    at: Ints
    """int64[n]: index into `cutoffs`."""
    customer: Ints
    """int64[n]: index into the table's customers; for a history in several tables, the index of the
    customer among those with a row. Ascending like the ids."""
    weight: Floats
    """float64[n]: 1, and more where a held-out customer represents treated ones."""
    arm: Codes
    """int8[n]: whether the row led to a task, or a holdout (`treated`)."""
    cutoffs: tuple[float, ...]
    """Unix seconds, UTC, ascending."""
    horizon_days: int
    rows_thinned: int
    """Eligible rows that were left out to stay within the bound."""
    treatment: str
    """How rows that led to a task were handled, in one sentence."""
    others: tuple[int, ...]
    """Other horizons, days, ascending."""
    over: Codes
    """int8[n, k]: `SILENT`, `RETURNED` or `UNKNOWN` over each of `others`."""
    after: Floats
    """float64[n]: days from the cutoff to the next purchase; inf where none is known."""
    end: float
    """Unix seconds, UTC: nothing is known from then on."""

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.silent)

    def matured(self, end: float) -> "Panel":
        """Return the rows with the whole horizon before `end` (unix seconds)."""
        kept = sum(cutoff + self.horizon_days * DAY_S <= end for cutoff in self.cutoffs)
        return self.between(0, kept)

    def between(self, first: int, last: int) -> "Panel":
        """Return the rows of cutoffs[first:last]."""
        found = self.where(slice(*np.searchsorted(self.at, [first, last], side="left")))
        return replace(found, at=found.at - first, cutoffs=self.cutoffs[first:last])

    def only(self, chosen: Sequence[int]) -> "Panel":
        """Return the rows of the cutoffs at these ascending indices."""
        found = self.where(np.isin(self.at, chosen))
        return replace(
            found,
            at=np.searchsorted(chosen, found.at),
            cutoffs=tuple(self.cutoffs[at] for at in chosen),
        )

    def where(self, rows: Flags | slice) -> "Panel":
        """Return the rows under a mask or in a slice, of the same cutoffs."""
        return replace(self, **{name: getattr(self, name)[rows] for name in PER_ROW})

    def subset(self, name: str) -> Flags:
        """Return which rows belong to one of SUBSETS.

        `ge2`: at least two purchase days. `active`: the last purchase is within one horizon, where
        warnings are decided and customers gone long ago cannot improve the ranking.
        """
        if name == "all":
            return np.ones(len(self), dtype=np.bool_)
        if name == "ge2":
            return column(self.x, "purchase_days") >= 2  # noqa: PLR2004 (its name)
        if name == "active":
            return column(self.x, "recency_days") <= self.horizon_days
        raise Invalid("subset", f"is one of {', '.join(SUBSETS)}, not {name}")


@dataclass(frozen=True, slots=True)
class Piece:
    """The rows of some customers, before they are joined to those of others."""

    panel: Panel
    """`customer` indexes `customers`."""
    customers: Sequence[str]
    """Ids of all customers in the table, ascending."""


Make = Callable[..., Piece]
"""Makes the piece of a table; `progress` is optional."""
Pieces = Callable[[History, Make, Progress], Sequence[Piece]]
"""Makes the piece of each table of a history, wherever the work is done."""


def in_turn(history: History, make: Make, progress: Progress) -> list[Piece]:
    """Make the pieces one after the other."""
    return [make(table, progress=progress) for table in history.tables()]


def build_panel(  # noqa: PLR0913 (five have defaults)
    history: History,
    cutoffs: Sequence[float],
    horizon_days: int,
    end: float,
    *,
    rows_max: int = ROWS_MAX,
    seed: int = 0,
    asked: RowOptions = PLAIN,
    progress: Progress = no_progress,
    pieces: Pieces = in_turn,
) -> Panel:
    """Compute features and labels of every eligible customer at each cutoff (unix seconds, UTC).

    Eligible: at least one purchase before the cutoff. Cutoffs with a horizon that ends after `end`
    are dropped: their labels are not known yet. Rows that reached a treatment are weighted or left
    out (`core.monitoring.treatment_weights`). Raises Invalid when no row is left, or when `end`
    lies beyond what the history has observed.
    """
    if end > history.observed_until:
        raise Invalid("end", "lies after the last complete day of the history")
    kept = tuple(sorted(c for c in set(cutoffs) if c + horizon_days * DAY_S <= end))
    first = np.sort(history.first_purchases())
    eligible = int(np.searchsorted(first, kept, side="left").sum())
    if not eligible:
        raise Invalid("cutoffs", f"none has a customer and {horizon_days} observed days after it")
    make = partial(
        gather,
        cutoffs=kept,
        horizon_days=horizon_days,
        share=min(1.0, rows_max / eligible),
        seed=seed,
        asked=asked,
    )
    return finish(join(pieces(history, make, progress)), eligible, end)


def gather(
    table: EventTable,
    cutoffs: tuple[float, ...],
    horizon_days: int,
    *,
    share: float,
    seed: int,
    asked: RowOptions,
    progress: Progress = no_progress,
) -> Piece:
    """Collect the rows of one table's customers, each with its arm; may be empty.

    Weight 0 where a customer's contract is known to have ended, else 1. Draws by id alone.
    """
    treatments = treatments_of(asked.treated, table.customers)
    first = table.first_purchases()
    drawn = _Draw(table.customers, share, seed)
    chosen = [drawn(np.flatnonzero(first < cutoff), at) for at, cutoff in enumerate(cutoffs)]
    customer = np.concatenate([np.empty(0, np.int64), *chosen])
    n = len(customer)
    x, silent, after = np.empty((n, len(FEATURES))), np.empty(n, np.bool_), np.full(n, np.inf)
    arm, weight = np.zeros(n, np.int8), np.ones(n)
    horizons = tuple(sorted(set(asked.others) - {horizon_days}))
    states, before, row = empty(len(table.customers)), -np.inf, 0
    for step, (cutoff, rows) in enumerate(zip(cutoffs, chosen, strict=True)):
        states, before = fold(states, table.between(before, cutoff)), cutoff
        for part in range(0, len(rows), FEATURE_ROWS_MAX):
            piece = rows[part : part + FEATURE_ROWS_MAX]
            x[row + part : row + part + len(piece)] = features(
                states[piece], np.full(len(piece), cutoff)
            )
        here, over = slice(row, row + len(rows)), cutoff + horizon_days * DAY_S
        back = table.next_purchases(cutoff, over)
        silent[here] = np.isinf(back[rows])
        if asked.labels == "contractual":
            runs = contracts.running(states)[rows]
            silent[here][runs] = table.contract_ends(cutoff, over)[rows][runs]
        weight[here] = ~contracts.ended(states)[rows]
        arm[here] = treatments.arms(cutoff, horizon_days, back)[rows]
        after[here] = (table.next_purchases(cutoff, np.inf)[rows] - cutoff) / DAY_S
        row += len(rows)
        progress("features", step + 1, len(cutoffs))
    panel = Panel(
        x=x,
        silent=silent,
        at=np.repeat(np.arange(len(cutoffs)), [len(rows) for rows in chosen]),
        customer=customer,
        weight=weight,
        arm=arm,
        cutoffs=cutoffs,
        horizon_days=horizon_days,
        rows_thinned=0,
        treatment="",
        others=horizons,
        over=np.where(after[:, None] >= np.array(horizons), SILENT, RETURNED).astype(np.int8),
        after=after,
        end=table.observed_until,
    )
    return Piece(panel, table.customers)


def join(pieces: Sequence[Piece]) -> Panel:
    """Join pieces to one panel, ordered by cutoff, then by customer id.

    The order does not depend on how the customers were cut into pieces.
    """
    panels = [piece.panel for piece in pieces]
    if len(panels) == 1:
        return panels[0]
    names: list[str] = []
    numbered: list[Ints] = []
    for piece in pieces:
        seen, index = np.unique(piece.panel.customer, return_inverse=True)
        numbered.append(index + len(names))
        names += [piece.customers[at] for at in seen.tolist()]
    rank = np.empty(len(names), np.int64)
    rank[np.argsort(np.array(names, dtype=object))] = np.arange(len(names))
    customer = rank[np.concatenate(numbered)]
    at = np.concatenate([panel.at for panel in panels])
    rows = np.lexsort((customer, at))
    x = np.empty((len(rows), len(FEATURES)))
    place = np.empty(len(rows), np.int64)
    place[rows] = np.arange(len(rows))
    done = 0
    for panel in panels:  # never two copies of all features at once
        x[place[done : done + len(panel)]] = panel.x
        done += len(panel)
    others: dict[str, Any] = {
        name: np.concatenate([getattr(panel, name) for panel in panels])[rows]
        for name in PER_ROW
        if name not in {"x", "customer"}
    }
    return replace(panels[0], x=x, customer=customer[rows], **others)


def finish(panel: Panel, eligible: int, end: float) -> Panel:
    """Weight the rows that reached a treatment, and drop what is known only from after `end`.

    `eligible`: rows before thinning.
    """
    thinned = eligible - len(panel)
    panel = panel.where(panel.weight > 0) if np.any(panel.weight == 0) else panel
    weight, sentence = weigh(panel.arm, panel.silent)
    over = np.add.outer(np.array(panel.cutoffs), np.array(panel.others) * DAY_S)
    cutoffs = np.array(panel.cutoffs)[panel.at]
    done = replace(
        panel,
        weight=weight,
        treatment=sentence,
        rows_thinned=thinned,
        over=np.where((over <= end)[panel.at], panel.over, UNKNOWN).astype(np.int8),
        after=np.where(panel.after * DAY_S + cutoffs < end, panel.after, np.inf),
        end=end,
    )
    return done if np.all(weight > 0) else done.where(weight > 0)


class _Draw:
    """Draws the same share of customers at every cutoff, by a hash of their ids."""

    def __init__(self, customers: Sequence[str], share: float, seed: int) -> None:
        self._share = share
        self._seed = seed
        hashes = (stable_hash(customer) for customer in customers if share < 1.0)
        self._hash = np.fromiter(hashes, np.uint64)

    def __call__(self, rows: Ints, at: int) -> Ints:
        """Return the rows that are drawn at the cutoff of index `at`, in order."""
        if self._share >= 1.0:
            return rows
        salt = np.uint64(stable_hash(str(self._seed), str(at)))
        uniform = (mixed(self._hash[rows] ^ salt) >> np.uint64(11)) / float(1 << 53)
        return rows[uniform < self._share]
