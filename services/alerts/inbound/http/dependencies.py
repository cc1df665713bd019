"""The dependencies of the routes."""

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncEngine

from services.alerts.core.wording.numbers import Language
from services.alerts.handlers.apply_task_action import ApplyTaskAction
from services.alerts.handlers.dry_run_policy import DryRunPolicy
from services.alerts.handlers.give_verdict import GiveVerdict
from services.alerts.handlers.measure_effect import EffectReport, MeasureEffect
from services.alerts.store.business_clock import BusinessClock
from services.alerts.store.policies import Policies
from shared.http.access import Tokens
from shared.runtime.clock import Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Dependencies of the routes, wired by `main`."""

    engine: AsyncEngine
    tokens: Tokens
    give_verdict: GiveVerdict
    act: ApplyTaskAction
    policies: Policies
    try_policy: DryRunPolicy
    measure_effect: MeasureEffect
    effect_page: Callable[[EffectReport, Language], str]
    business_clock: BusinessClock
    clock: Clock
