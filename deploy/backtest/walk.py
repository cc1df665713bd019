"""Walks days through the cores of scoring and alerts, and collects the resulting warnings.

It makes the same decisions as live, on a file of events. Everything before `begin` is an import,
folded silently; each day after it ends with a tick at midnight (UTC). Nothing is written, and each
day uses only what was known by then, apart from the given predictor and policy.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from deploy.backtest.scoring import Scoring, days
from deploy.backtest.tasks import Ended, SimulatedTasks, SimulatedWarning
from services.alerts.core.policy import Policy
from services.scoring.core.features.events import Kind
from services.scoring.core.value.classify import Valuation
from services.scoring.handlers.assess_customers import Assessor
from services.scoring.ports import Predictor
from services.scoring.settings import ScoringSettings
from services.scoring.training.data.event_table import EventTable
from shared.contracts.risk import RiskAssessed
from shared.kernel.arrays import Codes

Reached = Callable[[int], None]
"""Called with the number of finished days."""
Heard = Callable[[bytes], None]
"""Called with each risk message, encoded, in order."""


def nothing(_what: object) -> None:
    """Ignores its argument: the default of `Reached` and `Heard`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What decides: a predictor and the settings and policies of both services."""

    predictor: Predictor
    policy: Policy
    assessor: Assessor
    valuation: Valuation = field(default_factory=Valuation)
    """Without a base, which is measured where the walk begins."""


def setup_of(settings: ScoringSettings, predictor: Predictor, policy: Policy) -> Setup:
    """Returns the setup of a deployment with these settings."""
    return Setup(
        predictor=predictor,
        policy=policy,
        assessor=Assessor.of(settings),
        valuation=Valuation(clock=settings.lapse_clock),
    )


@dataclass(frozen=True, slots=True)
class Walked:
    """The results of a walk, in the order of time."""

    warned: list[SimulatedWarning]
    ended: list[Ended]
    open: dict[str, RiskAssessed]
    """Customers with an open task at the end, and the newest assessment of each."""
    looks: int
    """Number of assessments."""
    messages: int
    """Number of assessments sent to the risk topic."""
    why: Counter[str]
    """Counts of those messages, by the row of the decision table that applied."""
    grades: Codes
    """int8[days, customers]: index in `grades.GRADES` after each tick; -1 unknown."""


def walk(
    table: EventTable,
    begin: float,
    end: float,
    setup: Setup,
    *,
    reached: Reached = nothing,
    heard: Heard = nothing,
) -> Walked:
    """Walks from `begin` to `end`, midnights in Unix seconds UTC; both are ticks.

    Deterministic. Memory: about 2 KB and a byte a day for each customer, beside the table.
    """
    scoring = Scoring(table, begin, setup.predictor, setup.assessor, setup.valuation)
    tasks = SimulatedTasks(setup.policy)
    ticks = days(begin, end)
    grades = np.empty((len(ticks), len(table.customers)), np.int8)
    before, messages = begin, 0
    for done, now in enumerate(ticks, 1):
        # In the order of the log: a day's purchases, then the tick's assessments.
        for customer, at in purchases(table, before, now):
            tasks.bought(customer, at)
        told = scoring.tick(now)
        for message in told:
            heard(message)
            tasks.assessed(message)
        messages += len(told)
        grades[done - 1] = scoring.grades
        before = now
        reached(done)
    return Walked(tasks.warned, tasks.ended, tasks.open, scoring.looks, messages, tasks.why, grades)


def purchases(table: EventTable, start: float, end: float) -> Iterator[tuple[str, float]]:
    """Yields customer and instant (Unix seconds UTC) of each purchase of [start, end), in order."""
    events = table.between(start, end)
    bought = np.flatnonzero(events.kind == Kind.PURCHASE)
    for row, at in zip(events.row[bought].tolist(), events.time[bought].tolist(), strict=True):
        yield table.customers[row], at
