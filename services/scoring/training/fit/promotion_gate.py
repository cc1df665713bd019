"""Decides whether a candidate may serve: it must predict better than what serves now.

Judged on the backtest, at the later cutoffs that the blend was chosen on, each predicted exactly as
the candidate would serve, of what was known by then. A model in use is compared only at cutoffs
after everything that it learned from. Log loss decides; then what the budget of warnings finds, and
the segments, may refuse. The gate promotes nothing; it returns whether that may be done, and why,
in sentences for an operator.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal

import msgspec
import numpy as np

from services.scoring.core.features.events import DAY_S
from services.scoring.core.features.registry import column
from services.scoring.core.monitoring.metrics import BUDGET_SHARE, log_loss
from services.scoring.training.data.panel import Panel
from services.scoring.training.measures.paired_bootstrap import Gains, MeanInterval, Rows, gains
from shared.contracts.risk import Method
from shared.kernel.arrays import Flags, Floats

LEVEL: Final = 0.95
"""Level of the intervals over all customers."""
SEGMENT_LEVEL: Final = 0.99
"""Level of the intervals by segment: there are eight, and at 0.95 one of them would often be a
false alarm."""
SEGMENT_LOSS_MIN: Final = 0.01
"""Nats of log loss by which a segment must get worse to refuse a candidate that is better on the
whole: less moves no customer's probability by more than a few points."""
RECALL_LOSS_MIN: Final = 0.01
"""Share of those who leave that the budget of warnings must find less: one in a hundred."""
CUSTOMERS_MIN: Final = 200
"""Least customers of a group: with fewer, intervals are as wide as any difference."""
EVENTS_MIN: Final = 25
"""Least rows of each label, for the same reason."""
ROWS_MAX: Final = 100_000
"""Most outcomes to judge, those of customers drawn at random: intervals are then 0.003 wide, and
judging takes less than a minute."""
NEW_DAYS: Final = 91.0
"""Tenure of new customers, as in the catalogue of reasons: a quarter."""
SEED: Final = 4
ALL: Final = "all"
ACTIVE: Final = "active"

Verdict = Literal["clearly better", "better", "worse", "clearly worse", "too few"]


@dataclass(frozen=True, slots=True)
class Serving:
    """What serves now: the rule, a pooled prior or a model."""

    version: str
    method: Method
    p: Floats
    """Its probabilities for the trial's rows, float64[n]."""
    knows_until: float = -np.inf
    """Unix seconds, UTC: its labels end here; only cutoffs from here on are fair."""


@dataclass(frozen=True, slots=True)
class GateTrial:
    """The same rows of later cutoffs, with the probabilities of the candidate and of its rival."""

    rows: Panel
    ours: Floats
    """The candidate's probabilities, as it would serve."""
    serving: Serving
    notes: Sequence[str] = ()
    """What cannot be compared, in sentences; reported with the decision."""


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """The candidate against what serves, on one group of customers."""

    against: str
    segment: str
    rows: int
    customers: int
    verdict: Verdict
    """By log loss alone."""
    log_loss: float | None
    log_loss_against: float | None
    gains: Gains | None


class GateDecision(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the candidate may serve, and why."""

    passed: bool
    against: str | None
    """Version of the model or prior in use that it was compared with; None: the rule."""
    cutoffs: list[str]
    reasons: list[str]
    comparisons: list[Comparison]


def judge(trial: GateTrial) -> GateDecision:
    """Compare and decide; see docs/model-operations.md for the rules in plain words."""
    rows, serving = trial.rows, trial.serving
    against = None if serving.method == "rule" else serving.version
    if not len(rows):
        return _refuse(against, "no past cutoff has outcomes to judge it on: the history is too "
                       "short", trial.notes)  # fmt: skip
    fair = np.array(rows.cutoffs)[rows.at] >= serving.knows_until
    if not fair.any():
        labelled_from = day(serving.knows_until + (rows.horizon_days + 1) * DAY_S)
        why = f"no cutoff has matured since {serving.version} learned: try again from "
        return _refuse(against, why + labelled_from, trial.notes)
    found = [_compare(trial, ALL, fair, LEVEL)]
    found += [
        _compare(trial, segment, members & fair, SEGMENT_LEVEL)
        for segment, members in segments(rows).items()
    ]
    # A model in use is replaced for a clear gain only: noise must not promote every month. The rule
    # and a prior know less, so the better guess is the better one to serve.
    enough = ("clearly better",) if serving.method == "model" else ("clearly better", "better")
    refusals = [] if found[0].verdict in enough else [_refusal(found[0])]
    refusals += [_segment_sentence(c) for c in found[1:] if _segment_refuses(c)]
    refusals += [_recall_sentence(c) for c in found[1:] if _recall_refuses(c)]
    return GateDecision(
        passed=not refusals,
        against=against,
        cutoffs=[day(at) for at in rows.cutoffs],
        reasons=[
            *(refusals or [f"better than {serving.version}: {_losses(found[0], LEVEL)}"]),
            *trial.notes,
        ],
        comparisons=found,
    )


def segments(rows: Panel) -> dict[str, Flags]:
    """Return groups of customers that one model may score well and another one badly."""

    def of(name: str) -> Floats:
        return column(rows.x, name)

    spent = np.nan_to_num(of("amount_decayed_365"))
    middle = np.median(spent[spent > 0]) if np.any(spent > 0) else 0.0
    once = of("purchase_days") == 1
    recent = of("recency_days") <= rows.horizon_days
    found = {
        "bought once": once,
        "bought again": ~once,
        ACTIVE: recent,
        "silent": ~recent,
        "new": of("tenure_days") <= NEW_DAYS,
        "known": of("tenure_days") > NEW_DAYS,
    }
    if middle > 0:
        found |= {"spends less": (spent > 0) & (spent <= middle), "spends more": spent > middle}
    return found


def day(at: float) -> str:
    """Format an instant (unix seconds, UTC) as a date."""
    return datetime.fromtimestamp(at, UTC).date().isoformat()


def _compare(trial: GateTrial, segment: str, members: Flags, level: float) -> Comparison:
    rows, theirs = trial.rows, trial.serving.p
    chosen = members & _sample(rows)
    silent, weight = rows.silent[chosen], rows.weight[chosen]
    customers = len(np.unique(rows.customer[chosen]))
    few = min(int(silent.sum()), int((~silent).sum())) < EVENTS_MIN or customers < CUSTOMERS_MIN
    found = None
    if not few:
        judged = Rows(silent, rows.customer[chosen], weight)
        found = gains(judged, trial.ours[chosen], theirs[chosen], level, SEED)
    return Comparison(
        against=trial.serving.version,
        segment=segment,
        rows=int(chosen.sum()),
        customers=customers,
        verdict="too few" if found is None else _verdict(found.log_loss),
        log_loss=None if few else log_loss(silent, trial.ours[chosen], weight),
        log_loss_against=None if few else log_loss(silent, theirs[chosen], weight),
        gains=found,
    )


def _verdict(gain: MeanInterval) -> Verdict:
    if gain.mean is None or gain.low is None or gain.high is None:
        return "too few"
    if gain.mean > 0:
        return "clearly better" if gain.low > 0 else "better"
    return "clearly worse" if gain.high < 0 else "worse"


def _segment_refuses(c: Comparison) -> bool:
    gain = None if c.gains is None else c.gains.log_loss.mean
    return c.verdict == "clearly worse" and gain is not None and -gain >= SEGMENT_LOSS_MIN


def _recall_refuses(c: Comparison) -> bool:
    high = None if c.gains is None else c.gains.recall.high
    return c.segment == ACTIVE and high is not None and high < -RECALL_LOSS_MIN


def _sample(rows: Panel) -> Flags:
    if len(rows) <= ROWS_MAX:
        return np.ones(len(rows), np.bool_)
    customers = np.unique(rows.customer)
    count = max(1, len(customers) * ROWS_MAX // len(rows))
    drawn = np.random.default_rng(SEED).choice(customers, count, replace=False)
    return np.isin(rows.customer, drawn)


def _refusal(c: Comparison) -> str:
    if c.verdict == "too few":
        return (
            f"too few outcomes to compare with {c.against}: {c.rows:,} of {c.customers:,} "
            f"customers; {CUSTOMERS_MIN} customers are needed, and {EVENTS_MIN} of either outcome"
        )
    head = "not clearly better" if c.verdict == "better" else c.verdict
    return f"{head} than {c.against}: {_losses(c, LEVEL)}"


def _segment_sentence(c: Comparison) -> str:
    return f"clearly worse for customers of segment '{c.segment}': {_losses(c, SEGMENT_LEVEL)}"


def _recall_sentence(c: Comparison) -> str:
    recall = None if c.gains is None else c.gains.recall
    less = 0.0 if recall is None else -(recall.mean or 0.0)
    return (
        f"warnings would find fewer of the customers who leave: the {BUDGET_SHARE:.0%} of active "
        f"customers with the highest scores hold {less:.1%} less of them than by {c.against}"
    )


def _losses(c: Comparison, level: float) -> str:
    """Return both log losses and their difference, in words that need no sign."""
    gain = MeanInterval(None, None, None) if c.gains is None else c.gains.log_loss
    mean, low, high = gain.mean or 0.0, gain.low or 0.0, gain.high or 0.0
    side = "lower" if mean > 0 else "higher"
    ends = (low, high) if mean > 0 else (-high, -low)
    return (
        f"log loss {c.log_loss:.4f} against {c.log_loss_against:.4f}, {side} by {abs(mean):.4f} "
        f"({level:.0%} interval {ends[0]:.4f} to {ends[1]:.4f}) on {c.rows:,} outcomes of "
        f"{c.customers:,} customers"
    )


def _refuse(against: str | None, why: str, notes: Sequence[str]) -> GateDecision:
    return GateDecision(
        passed=False, against=against, cutoffs=[], reasons=[why, *notes], comparisons=[]
    )
