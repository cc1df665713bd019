"""Decides whether a new model may serve: it must beat the champion and all baselines.

Judged on the backtest's origins, which are later cutoffs, each predicted by trees that knew nothing
later. The champion is compared only at cutoffs after everything that it learned from. The gate
promotes nothing; it returns whether that may be done, and why, in sentences for an operator.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal

import msgspec
import numpy as np

from services.scoring.core.features.contracts import Labels
from services.scoring.core.features.events import DAY_S
from services.scoring.core.features.registry import feature_index
from services.scoring.training.data.panel import Panel
from services.scoring.training.measures.paired_bootstrap import Gains, Rows, gains
from shared.kernel.arrays import Flags, Floats

LEVEL: Final = 0.95
"""Level of the intervals over all customers."""
SEGMENT_LEVEL: Final = 0.99
"""Level of the intervals by segment: there are eight, and at 0.95 one of them would often be a
false alarm."""
CUSTOMERS_MIN: Final = 200
"""Least customers of a group: with fewer, intervals are as wide as any difference."""
EVENTS_MIN: Final = 25
"""Least rows of each label, for the same reason."""
CUSTOMERS_MAX: Final = 20_000
"""Most customers to judge, drawn at random: intervals are then 0.002 wide, and judging takes
minutes."""
NEW_DAYS: Final = 91.0
"""Tenure of new customers, as in the catalogue of reasons: a quarter."""
SEED: Final = 4
ALL: Final = "all"

Verdict = Literal["better", "not clearly better", "clearly worse", "too few"]


@dataclass(frozen=True, slots=True)
class GateTrial:
    """The same rows of later cutoffs, with the probabilities of each contender."""

    rows: Panel
    ours: Floats
    """The new model's probabilities."""
    baselines: Mapping[str, Floats]
    champion: "Champion | None" = None
    labels: Labels = "silence"


@dataclass(frozen=True, slots=True)
class Champion:
    """The model in use, as a contender."""

    version: str
    horizon_days: int
    knows_until: float
    """Unix seconds, UTC: its labels end here; only cutoffs from here on are fair."""
    p: Floats | None
    """Its probabilities for the trial's rows; None where it cannot read this release's features."""
    labels: Labels = "silence"


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """The new model against one contender on one group of customers."""

    against: str
    segment: str
    rows: int
    customers: int
    verdict: Verdict
    gains: Gains | None


class GateDecision(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the model may serve, and why."""

    passed: bool
    against: str | None
    """Version of the champion that it was compared with; None: there was none to compare."""
    cutoffs: list[str]
    reasons: list[str]
    comparisons: list[Comparison]


def judge(trial: GateTrial) -> GateDecision:
    """Compare and decide; see docs/model-operations.md for the rules in plain words."""
    rows = trial.rows
    if not len(rows):
        return _refuse(None, "no past cutoff with matured labels to judge it on: history too short")
    all_rows = np.ones(len(rows), np.bool_)
    found = [_compare(trial, name, p, ALL, all_rows, LEVEL) for name, p in trial.baselines.items()]
    reasons = [_sentence(c) for c in found if c.verdict != "better"]
    champion, rival = trial.champion, _strongest(trial)
    notes: list[str] = []
    if champion is not None and champion.p is None:
        notes.append(f"{champion.version} cannot read this release's features: not compared")
    elif champion is not None and (champion.horizon_days, champion.labels) != (
        rows.horizon_days,
        trial.labels,
    ):
        notes.append(
            f"{champion.version} answers another question ({champion.horizon_days} d, "
            f"{champion.labels})"
        )
    elif champion is not None and champion.p is not None:
        fair = np.array(rows.cutoffs)[rows.at] >= champion.knows_until
        if not fair.any():
            labelled_from = _day(champion.knows_until + (rows.horizon_days + 1) * DAY_S)
            return _refuse(
                champion.version,
                f"no cutoff has matured since {champion.version} learned: "
                f"try again from {labelled_from}",
                found,
            )
        first = _compare(trial, champion.version, champion.p, ALL, fair, LEVEL)
        found.append(first)
        if first.verdict != "better":
            reasons.append(_sentence(first))
        rival = (champion.version, champion.p, fair)
    name, p, judged = rival
    for segment, members in segments(rows).items():
        by_segment = _compare(trial, name, p, segment, members & judged, SEGMENT_LEVEL)
        found.append(by_segment)
        if by_segment.verdict == "clearly worse":
            reasons.append(_sentence(by_segment))
    return GateDecision(
        passed=not reasons,
        against=None if champion is None else champion.version,
        cutoffs=[_day(at) for at in rows.cutoffs],
        reasons=(reasons or ["better than everything it was compared with"]) + notes,
        comparisons=found,
    )


def not_worse(trial: GateTrial) -> GateDecision:
    """Judge a prior that replaces the rule: it must be clearly worse than no baseline."""
    all_rows = np.ones(len(trial.rows), np.bool_)
    found = [_compare(trial, n, p, ALL, all_rows, LEVEL) for n, p in trial.baselines.items()]
    bad = [_sentence(c) for c in found if c.verdict == "clearly worse"]
    return GateDecision(
        passed=not bad,
        against=None,
        cutoffs=[_day(at) for at in trial.rows.cutoffs],
        reasons=bad or ["not clearly worse: " + _sentence(c) for c in found],
        comparisons=found,
    )


def segments(rows: Panel) -> dict[str, Flags]:
    """Return groups of customers that one model may score well and another one badly."""

    def of(name: str) -> Floats:
        return rows.x[:, feature_index[name]]

    spent = np.nan_to_num(of("amount_decayed_365"))
    middle = np.median(spent[spent > 0]) if np.any(spent > 0) else 0.0
    once = of("purchase_days") == 1
    recent = of("recency_days") <= rows.horizon_days
    found = {
        "bought once": once,
        "bought again": ~once,
        "active": recent,
        "silent": ~recent,
        "new": of("tenure_days") <= NEW_DAYS,
        "known": of("tenure_days") > NEW_DAYS,
    }
    if middle > 0:
        found |= {"spends less": (spent > 0) & (spent <= middle), "spends more": spent > middle}
    return found


def _strongest(trial: GateTrial) -> tuple[str, Floats, Flags]:
    """Return the baseline of the lowest log loss: the rival by segment where no champion serves."""
    silent = trial.rows.silent

    def loss(p: Floats) -> float:
        q = np.clip(np.where(silent, p, 1.0 - p), 1e-7, None)
        return float(-np.log(q).mean())

    name = min(trial.baselines, key=lambda n: loss(trial.baselines[n]))
    return name, trial.baselines[name], np.ones(len(silent), np.bool_)


def _compare(
    trial: GateTrial, against: str, theirs: Floats, segment: str, members: Flags, level: float
) -> Comparison:
    rows = trial.rows
    chosen = members & _sample(rows)
    silent = rows.silent[chosen]
    customers = len(np.unique(rows.customer[chosen]))
    few = min(int(silent.sum()), int((~silent).sum())) < EVENTS_MIN or customers < CUSTOMERS_MIN
    found = None
    if not few:
        judged = Rows(silent, rows.customer[chosen], rows.weight[chosen])
        found = gains(judged, trial.ours[chosen], theirs[chosen], level, SEED)
    return Comparison(
        against=against,
        segment=segment,
        rows=int(chosen.sum()),
        customers=customers,
        verdict="too few" if found is None else _verdict(found),
        gains=found,
    )


def _verdict(found: Gains) -> Verdict:
    worse_ranking = found.roc_auc.high is not None and found.roc_auc.high < 0
    if worse_ranking or (found.log_loss.high is not None and found.log_loss.high < 0):
        return "clearly worse"
    better = found.log_loss.low is not None and found.log_loss.low > 0
    return "better" if better else "not clearly better"


def _sample(rows: Panel) -> Flags:
    customers = np.unique(rows.customer)
    if len(customers) <= CUSTOMERS_MAX:
        return np.ones(len(rows), np.bool_)
    drawn = np.random.default_rng(SEED).choice(customers, CUSTOMERS_MAX, replace=False)
    return np.isin(rows.customer, drawn)


def _sentence(c: Comparison) -> str:
    who = "all customers" if c.segment == ALL else f"customers of segment '{c.segment}'"
    head = f"{c.verdict} than {c.against} on {who}" if c.verdict != "too few" else (
        f"too few rows to compare with {c.against} on {who}"
    )  # fmt: skip
    if c.gains is None or c.gains.log_loss.mean is None or c.gains.roc_auc.mean is None:
        return f"{head} ({c.rows:,} rows of {c.customers:,} customers)"
    loss, auc = c.gains.log_loss, c.gains.roc_auc
    return (
        f"{head}: log loss lower by {loss.mean:+.4f} [{loss.low:+.4f}, {loss.high:+.4f}], "
        f"ROC-AUC {auc.mean:+.4f} [{auc.low:+.4f}, {auc.high:+.4f}] ({c.rows:,} rows)"
    )


def _refuse(against: str | None, why: str, found: list[Comparison] | None = None) -> GateDecision:
    return GateDecision(
        passed=False, against=against, cutoffs=[], reasons=[why], comparisons=found or []
    )


def _day(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).date().isoformat()
