"""Wires the loop of the timers, with its further steps. No decisions in here."""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

from services.alerts.components import Alerts
from services.alerts.handlers.learn_effects import LearnEffects
from services.alerts.handlers.measure_effect import MeasureOutcomes
from services.alerts.handlers.raise_scheduled_tasks import RaiseScheduledTasks
from services.alerts.handlers.run_task_timers import RunTaskTimers
from services.alerts.store.rows import forget
from services.alerts.store.tables import customer_message, feedback
from services.alerts.store.tasks import forget_tasks
from shared.postgres.engine import unit_of_work

ROWS_MAX = 500
"""Old rows deleted in one transaction; an iteration every 5 s deletes more than ever arrive."""


def tend(alerts: Alerts) -> RunTaskTimers:
    """Return the loop of the timers: due tasks, outcomes, scheduled tasks, customer messages."""
    return RunTaskTimers(
        engine=alerts.engine,
        policies=alerts.policies,
        recorder=alerts.recorder,
        business_clock=alerts.business_clock,
        clock=alerts.clock,
        health=alerts.health,
        announcer=alerts.announcer,
        isolation=alerts.isolation,
        more={
            "outcomes": _isolated(alerts, "outcomes", _measure_outcomes(alerts)),
            "effects": _isolated(alerts, "effects", _learn_effects(alerts)),
            "care": _take_care(alerts),
            "messages": alerts.customer_messages,
            "forget": _forget(alerts),
        },
    )


def _isolated(
    alerts: Alerts, name: str, measure: Callable[[datetime], Awaitable[None]]
) -> Callable[[datetime], Awaitable[object]]:
    async def step(now: datetime) -> None:
        await alerts.isolation.each("measurement", [name], lambda _: measure(now))

    return step


def _learn_effects(alerts: Alerts) -> LearnEffects:
    return LearnEffects(
        engine=alerts.engine,
        fits=alerts.fits,
        policies=alerts.policies,
        clock=alerts.clock,
        keep=timedelta(days=alerts.settings.keep_days),
    )


def _measure_outcomes(alerts: Alerts) -> MeasureOutcomes:
    return MeasureOutcomes(
        engine=alerts.engine,
        policies=alerts.policies,
        late=timedelta(days=alerts.settings.late_days),
        keep=timedelta(days=alerts.settings.keep_days),
    )


def _forget(alerts: Alerts) -> Callable[[datetime], Awaitable[object]]:
    settings = alerts.settings

    async def step(now: datetime) -> None:
        for time, days in (
            (feedback.c.at, settings.feedback_days),
            (customer_message.c.caused_at, settings.message_days),
        ):
            async with unit_of_work(alerts.engine) as work:
                await forget(work, time, now - timedelta(days=days), ROWS_MAX)
        await forget_tasks(alerts.engine, now - timedelta(days=settings.task_days), ROWS_MAX)

    return step


def _take_care(alerts: Alerts) -> RaiseScheduledTasks:
    return RaiseScheduledTasks(
        engine=alerts.engine,
        policies=alerts.policies,
        recorder=alerts.recorder,
        clock=alerts.clock,
        isolation=alerts.isolation,
        announcer=alerts.announcer,
    )
