"""Trains the candidates for serving, each with the gate's decision: a pooled prior and a model.

This is the only place that decides which of the three ways of scoring a company's history supports:
the rule needs nothing; the pooled prior needs enough repeat purchases; a model is the blend of
trees and prior that did best on later training cutoffs. Each must predict better than what serves
(`promotion_gate`). Nothing is promoted here. `evaluate` and the backtest learn by it too.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import msgspec
import numpy as np

from services.scoring.core.features.contracts import Labels
from services.scoring.core.risk.horizons import AS_RHYTHM
from services.scoring.core.risk.rhythm import history
from services.scoring.model import churn_model, pooled_model, reference
from services.scoring.model.churn_model import ChurnModel
from services.scoring.model.loading import knows_until
from services.scoring.model.pooled_model import PooledArtefact, PooledModel
from services.scoring.model.rule_model import RuleModel
from services.scoring.training.data.event_table import has_contracts
from services.scoring.training.data.history import History
from services.scoring.training.data.panel import PLAIN, Progress, RowOptions, no_progress
from services.scoring.training.fit import promotion_gate
from services.scoring.training.fit.backtest import Backtest
from services.scoring.training.fit.baselines import RHYTHM
from services.scoring.training.fit.blend import PRIOR_ALONE
from services.scoring.training.fit.fit import SEED
from services.scoring.training.fit.horizons import fit_lapse
from services.scoring.training.fit.train import Executor, Present, Trained, train
from shared.kernel.arrays import Floats
from shared.kernel.errors import Invalid

POOLED_CUSTOMERS_MIN: Final = 200
POOLED_REPEATS_MIN: Final = 200
"""Below this or the number of customers, four parameters fitted to this company are less certain
than the documented prior of the rule: their standard errors are about a tenth of themselves at
these numbers."""
REGULAR_CUSTOMERS_MIN: Final = 100
"""So many customers are enough where gaps are regular (k > 1): the rule, which takes them for
random, is then further off than uncertain parameters are."""
POOLED: Final = RHYTHM
"""The baseline that is a pooled prior fitted at each origin to what was known there."""
RULE: Final = "the rule"
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
    trained: Trained | None
    """The trees and their backtest; None where the history is too short."""
    now: Present

    def best(self, serving: str | None) -> Candidate | None:
        """Return the candidate to promote, given the method in use (`serving`).

        A model that passed, else a prior that passed; where a model serves, only a prior that was
        compared with it.
        """
        for candidate in reversed(self.candidates):
            decision = candidate.decision
            compared = serving != "model" or decision.against is not None
            if decision.passed and (candidate.model.method == "model" or compared):
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
    now, trained = Present.of(table, end), None
    try:
        trained = train(
            table,
            end,
            horizon_days,
            asked=asked,
            seed=seed,
            executor=executor,
            progress=progress,
            now=now,
        )
    except Invalid as invalid:
        if invalid.field not in TOO_SHORT:
            raise
        notes.append(f"no model: {invalid.reason}")
    past = _Past(
        None if trained is None else trained.fitted.later, horizon_days, champion, asked.labels
    )
    candidates: list[Candidate] = []
    pooled = _pooled(table, end, horizon_days, now, past)
    if isinstance(pooled, str):
        notes.append(f"no pooled prior: {pooled}")
    else:
        candidates.append(pooled)
    if trained is not None and trained.fitted.choice.contender == PRIOR_ALONE:
        notes.append(f"no model: trees add nothing to the prior: {trained.fitted.choice.reason}")
    elif trained is not None:
        candidates.append(_model(trained, past))
    return TrainingOutcome(candidates, notes, trained, now)


def _model(trained: Trained, past: "_Past") -> Candidate:
    p = trained.fitted.scored(trained.fitted.later)
    return Candidate(
        model=trained.model,
        data=churn_model.dumps(trained.model),
        decision=promotion_gate.judge(past.trial(p, past.serving())),
        report=msgspec.json.encode(trained.report).decode(),
        fingerprint=trained.model.card.data_fingerprint,
        reference=reference.dumps(trained.latest, trained.model.predict(trained.latest)),
    )


@dataclass(frozen=True, slots=True)
class _Past:
    """The backtest, and what serves now as a rival in it."""

    later: Backtest | None
    """At the cutoffs that the blend was chosen on: two a horizon apart would show two seasons."""
    horizon_days: int
    champion: ChurnModel | PooledModel | str | None
    labels: Labels

    @property
    def backtest(self) -> Backtest | None:
        """The backtest; None where no outcome has matured."""
        past = self.later
        return past if past is not None and len(past.rows) else None

    @property
    def model_serves(self) -> bool:
        """Whether a model serves that candidates can be compared with."""
        return isinstance(self.champion, ChurnModel) and not self._notes()

    def trial(self, ours: Floats, serving: promotion_gate.Serving) -> promotion_gate.GateTrial:
        """Return the comparison of a candidate's probabilities with those of what serves."""
        if self.later is None:
            raise ValueError("without a backtest there is nothing to compare on")
        return promotion_gate.GateTrial(self.later.rows, ours, serving, self._notes())

    def rule(self) -> promotion_gate.Serving:
        """Return the rule as a rival."""
        past = self.backtest
        p = np.empty(0) if past is None else RuleModel(self.horizon_days).predict(past.rows.x)
        return promotion_gate.Serving(RULE, "rule", p)

    def serving(self) -> promotion_gate.Serving:
        """Return what serves as a rival; the rule where it cannot be compared.

        A prior needs no labels: at each origin it is fitted to what was known there, so that it
        need not wait for outcomes after it was trained.
        """
        past, champion = self.backtest, self.champion
        if past is None or champion is None or isinstance(champion, str) or self._notes():
            return self.rule()
        if isinstance(champion, PooledModel):
            return promotion_gate.Serving(champion.version, "pooled", past.baselines[POOLED])
        return promotion_gate.Serving(
            version=champion.version,
            method="model",
            p=champion.predict(past.rows.x),
            knows_until=datetime.fromisoformat(knows_until(champion)).timestamp(),
        )

    def _notes(self) -> list[str]:
        champion = self.champion
        if isinstance(champion, str):
            return [f"{champion} cannot read this release's features: compared with {RULE}"]
        asked = (self.horizon_days, self.labels)
        if champion is not None and (champion.horizon_days, champion.labels) != asked:
            return [
                f"{champion.version} answers another question ({champion.horizon_days} d, "
                f"{champion.labels}): compared with {RULE}"
            ]
        return []


def _pooled(
    table: History, end: float, horizon_days: int, now: Present, past: _Past
) -> Candidate | str:
    """Make the pooled prior a candidate; returns a reason where that is impossible."""
    repeats, _, _ = history(now.x)
    prior = now.rhythm
    customers = POOLED_CUSTOMERS_MIN if prior.k == 1.0 else REGULAR_CUSTOMERS_MIN
    if len(now.x) < customers or repeats.sum() < POOLED_REPEATS_MIN:
        return (
            f"{len(now.x)} customers with {int(repeats.sum())} repeat purchase days, needed are "
            f"{customers} and {POOLED_REPEATS_MIN}"
        )
    fingerprint = table.fingerprint(end)
    lapse = AS_RHYTHM
    if past.backtest is not None:
        p = pooled_model.no_purchase(prior, past.backtest.rows.x, horizon_days)
        lapse, _ = fit_lapse(past.backtest.rows, p, prior)
    model, data = pooled_model.make(
        PooledArtefact(
            horizon_days=horizon_days,
            r=prior.r,
            alpha=prior.alpha,
            a=prior.a,
            b=prior.b,
            k=prior.k,
            customers=len(now.x),
            repeats=int(repeats.sum()),
            labels_end=datetime.fromtimestamp(end, UTC).isoformat(),
            data_fingerprint=fingerprint,
            lapse=lapse,
        )
    )
    rows = reference.drawn(now.x, SEED)
    return Candidate(
        model=model,
        data=data,
        decision=_judge_pooled(past),
        report=msgspec.json.encode(model.artefact).decode(),
        fingerprint=fingerprint,
        reference=reference.dumps(rows, model.predict(rows)),
    )


def _judge_pooled(past: _Past) -> promotion_gate.GateDecision:
    """Judge the pooled prior: against a model in use, else against the rule.

    The caller has already checked that there is enough data, so it serves before there are
    outcomes to compare on.
    """
    found = past.backtest
    if found is None:
        return _unjudged("enough repeat purchases; no outcome has matured yet to compare on")
    rival = past.serving() if past.model_serves else past.rule()
    decision = promotion_gate.judge(past.trial(found.baselines[POOLED], rival))
    if rival.method == "rule" and decision.comparisons[0].verdict == "too few":
        return _unjudged("enough repeat purchases; too few outcomes yet to compare on")
    return decision


def _unjudged(why: str) -> promotion_gate.GateDecision:
    return promotion_gate.GateDecision(
        passed=True, against=None, cutoffs=[], reasons=[why], comparisons=[]
    )
