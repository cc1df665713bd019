"""Chooses the predictor of a backtest: the best that the history supports, as training chooses."""

from dataclasses import dataclass

from services.scoring.model.rule_model import RuleModel
from services.scoring.ports import Predictor
from services.scoring.settings import ScoringSettings
from services.scoring.training.data.history import History
from services.scoring.training.data.panel import Progress, RowOptions, no_progress
from services.scoring.training.fit.candidates import learn


@dataclass(frozen=True, slots=True)
class Chosen:
    """A predictor, and training's notes on it and on the other candidates."""

    predictor: Predictor
    notes: list[str]


def chosen(
    history: History, end: float, settings: ScoringSettings, progress: Progress = no_progress
) -> Chosen:
    """Returns what would serve at `end` (Unix seconds UTC) after a first training then.

    Nothing at or after `end` is used. Where neither a model nor a pooled prior passes the gate, the
    rule serves.
    """
    rule = RuleModel(settings.horizon_days)
    others = () if settings.labels == "contractual" else settings.also_horizons_days
    asked = RowOptions(others=others, labels=settings.labels)
    learned = learn(history, end, settings.horizon_days, asked=asked, progress=progress)
    notes = list(learned.notes)
    for candidate in learned.candidates:
        verdict = "passed" if candidate.decision.passed else "did not pass"
        why = "; ".join(candidate.decision.reasons)
        notes.append(f"{candidate.model.version} {verdict}: {why}" if why else verdict)
    best = learned.best(None)
    return Chosen(rule if best is None else best.model, notes)
