"""Trains the candidates for serving, each with the gate's decision: a pooled prior and a model.

This is the only place that decides which of the three ways of scoring a company's history supports:
the rule needs nothing; the pooled prior needs enough repeat purchases; a model must beat both on
later cutoffs. Nothing is promoted here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import msgspec
import numpy as np

from services.scoring.core.features.contracts import Labels
from services.scoring.core.risk.horizons import AS_RHYTHM
from services.scoring.core.risk.odds import sigmoid
from services.scoring.core.risk.rhythm import assessable
from services.scoring.model import churn_model, pooled_model, reference
from services.scoring.model.churn_model import ChurnModel
from services.scoring.model.loading import knows_until
from services.scoring.model.pooled_model import PooledArtefact, PooledModel
from services.scoring.model.rule_model import RuleModel
from services.scoring.training.data.event_table import EventTable, has_contracts
from services.scoring.training.data.history import History
from services.scoring.training.data.leaks import snapshot
from services.scoring.training.data.panel import PLAIN, Progress, RowOptions, no_progress
from services.scoring.training.fit import promotion_gate
from services.scoring.training.fit.backtest import Backtest
from services.scoring.training.fit.fit import SEED
from services.scoring.training.fit.horizons import fit_lapse
from services.scoring.training.fit.train import Executor, train
from shared.kernel.arrays import Floats
from shared.kernel.errors import Invalid

POOLED_CUSTOMERS_MIN: Final = 200
POOLED_REPEATS_MIN: Final = 200
"""Below this or the number of customers, four parameters fitted to this company are less certain
than the documented prior of the rule: their standard errors are about a tenth of themselves at
these numbers."""
POOLED_CUSTOMERS_MAX: Final = 50_000
"""Customers that the prior is fitted to, at most: its standard errors are then below a
hundredth."""
POOLED: Final = "mbg_nbd"
"""The baseline that is a pooled prior fitted at each origin to what was known there."""
TOO_SHORT: Final = frozenset({"end", "cutoffs", "panel"})
"""Fields of the Invalid that a history without both a past and a matured horizon raises."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model that could serve, and whether it may."""

    model: ChurnModel | PooledModel
    data: bytes
    decision: promotion_gate.GateDecision
    report: str
    fingerprint: str
    reference: bytes | None


@dataclass(frozen=True, slots=True)
class TrainingOutcome:
    """All candidates of one training, and why others are missing."""

    candidates: list[Candidate]
    notes: list[str]

    def best(self, serving: str | None) -> Candidate | None:
        """Return the candidate to promote, given the method in use (`serving`).

        A model that passed, else a prior that passed where no model serves.
        """
        for candidate in reversed(self.candidates):
            allowed = candidate.model.method == "model" or serving != "model"
            if candidate.decision.passed and allowed:
                return candidate
        return None


def learn(
    table: History,
    end: float,
    horizon_days: int,
    *,
    champion: ChurnModel | PooledModel | str | None = None,
    asked: RowOptions = PLAIN,
    seed: int = SEED,
    executor: Executor | None = None,
    progress: Progress = no_progress,
) -> TrainingOutcome:
    """Train candidates from nothing known at or after `end` (unix seconds, UTC).

    `champion` serves now; only its version where this release cannot read it. The gate judges the
    main horizon alone, not the other horizons in `asked`. Raises Invalid when a feature knows the
    future, and for contractual labels without a contract.
    """
    if asked.labels == "contractual" and not any(map(has_contracts, table.tables())):
        raise Invalid("labels", "contractual, but no contract was ever activated")
    notes: list[str] = []
    candidates: list[Candidate] = []
    try:
        trained = train(
            table,
            end,
            horizon_days,
            asked=asked,
            seed=seed,
            executor=executor,
            progress=progress,
        )
    except Invalid as invalid:
        if invalid.field not in TOO_SHORT:
            raise
        trained = None
        notes.append(f"no model: {invalid}")
    past = None if trained is None else trained.backtest
    pooled = _pooled(table, end, horizon_days, past)
    if isinstance(pooled, str):
        notes.append(f"no pooled prior: {pooled}")
    else:
        candidates.append(pooled)
    if trained is not None:
        decision = promotion_gate.judge(_trial(trained.backtest, champion, asked.labels))
        latest = reference.dumps(trained.latest, trained.model.predict(trained.latest))
        candidates.append(
            Candidate(
                model=trained.model,
                data=churn_model.dumps(trained.model),
                decision=decision,
                report=msgspec.json.encode(trained.report).decode(),
                fingerprint=trained.model.card.data_fingerprint,
                reference=latest,
            )
        )
    return TrainingOutcome(candidates, notes)


def _trial(
    past: Backtest, champion: ChurnModel | PooledModel | str | None, labels: Labels
) -> promotion_gate.GateTrial:
    rows = past.rows
    if not len(rows):
        return promotion_gate.GateTrial(rows, np.empty(0), {})
    against = None
    if isinstance(champion, str):
        against = promotion_gate.Champion(champion, rows.horizon_days, 0.0, None, labels)
    elif champion is not None:
        against = promotion_gate.Champion(
            version=champion.version,
            horizon_days=champion.horizon_days,
            knows_until=datetime.fromisoformat(knows_until(champion)).timestamp(),
            p=champion.predict(rows.x),
            labels=champion.labels,
        )
    baselines = {
        **past.baselines,
        "rule": RuleModel(rows.horizon_days).predict(rows.x),
    }
    return promotion_gate.GateTrial(rows, sigmoid(past.log_odds), baselines, against, labels)


def _pooled(
    table: History, end: float, horizon_days: int, past: Backtest | None
) -> Candidate | str:
    """Fit the prior over all customers; returns a reason where that is impossible."""
    customers = len(table.first_purchases())
    x = np.concatenate([_buyers(piece, end, customers) for piece in table.tables()])
    repeats, _, _ = pooled_model.columns(x)
    if len(x) < POOLED_CUSTOMERS_MIN or repeats.sum() < POOLED_REPEATS_MIN:
        return (
            f"{len(x)} customers with {int(repeats.sum())} repeat purchase days, it wants "
            f"{POOLED_CUSTOMERS_MIN} and {POOLED_REPEATS_MIN}"
        )
    prior = pooled_model.fit_prior(x)
    fingerprint = table.fingerprint(end)
    lapse = AS_RHYTHM
    if past is not None and len(past.rows):
        p = pooled_model.no_purchase(prior, past.rows.x, horizon_days)
        lapse, _ = fit_lapse(past.rows, p, prior)
    model, data = pooled_model.make(
        PooledArtefact(
            horizon_days=horizon_days,
            r=prior.r,
            alpha=prior.alpha,
            a=prior.a,
            b=prior.b,
            customers=len(x),
            repeats=int(repeats.sum()),
            labels_end=datetime.fromtimestamp(end, UTC).isoformat(),
            data_fingerprint=fingerprint,
            lapse=lapse,
        )
    )
    return Candidate(
        model=model,
        data=data,
        decision=_judge_pooled(past),
        report=msgspec.json.encode(model.artefact).decode(),
        fingerprint=fingerprint,
        reference=reference.dumps(*_sampled(x, model)),
    )


def _buyers(piece: EventTable, end: float, customers: int) -> Floats:
    """Compute features of customers with a purchase.

    At most about POOLED_CUSTOMERS_MAX over all pieces.
    """
    x = snapshot(piece, end)
    x = x[assessable(x)]
    step = -(-customers // POOLED_CUSTOMERS_MAX)
    return x[::step]


def _judge_pooled(past: Backtest | None) -> promotion_gate.GateDecision:
    """Judge the pooled prior: where outcomes exist, it must not be clearly worse than the rule.

    The caller has already checked that there is enough data.
    """
    if past is None or not len(past.rows):
        return promotion_gate.GateDecision(
            passed=True,
            against=None,
            cutoffs=[],
            reasons=["enough repeat purchases; no outcome has matured yet to compare on"],
            comparisons=[],
        )
    rule = RuleModel(past.rows.horizon_days).predict(past.rows.x)
    trial = promotion_gate.GateTrial(past.rows, past.baselines[POOLED], {"rule": rule})
    return promotion_gate.not_worse(trial)


def _sampled(x: Floats, model: PooledModel) -> Sequence[Floats]:
    keep = np.random.default_rng(SEED).permutation(len(x))[: reference.ROWS_MAX]
    rows = x[np.sort(keep)]
    return rows, model.predict(rows)
