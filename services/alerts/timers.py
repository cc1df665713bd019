"""Wires the loop of the timers, with its further steps. No decisions in here."""

from datetime import timedelta
from typing import TYPE_CHECKING

from services.alerts.handlers.measure_effect import MeasureOutcomes
from services.alerts.handlers.take_care import TakeCare
from services.alerts.handlers.tend import Tend
from services.alerts.store.assessments import Assessments
from services.alerts.store.care import CareRows
from services.alerts.store.due_tasks import DueTasks, TaskLog
from services.alerts.store.effects import Effects

if TYPE_CHECKING:  # main imports this module
    from services.alerts.main import Alerts


def tend(alerts: "Alerts") -> Tend:
    """The loop of the timers: what is due, what customers did, what the calendar says."""
    return Tend(
        engine=alerts.engine,
        customers=alerts.customers,
        tasks=alerts.tasks,
        due=DueTasks(),
        log=TaskLog(),
        rules=alerts.rules,
        book=alerts.book,
        outbox=alerts.outbox,
        business_clock=alerts.business_clock,
        clock=alerts.clock,
        health=alerts.health,
        told=alerts.told,
        given=alerts.given,
        more=(_measure_outcomes(alerts), _take_care(alerts)),
    )


def _measure_outcomes(alerts: "Alerts") -> MeasureOutcomes:
    return MeasureOutcomes(
        engine=alerts.engine,
        trials=alerts.trials,
        effects=Effects(),
        rules=alerts.rules,
        assessments=Assessments(),
        late=timedelta(days=alerts.settings.late_days),
        keep=timedelta(days=alerts.settings.keep_days),
    )


def _take_care(alerts: "Alerts") -> TakeCare:
    return TakeCare(
        engine=alerts.engine,
        customers=alerts.customers,
        rows=CareRows(),
        rules=alerts.rules,
        book=alerts.book,
        outbox=alerts.outbox,
        clock=alerts.clock,
        ring=alerts.act().ring,
    )
