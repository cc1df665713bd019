"""HTTP routes of the effect of the tasks: as numbers and as a page."""

import asyncio
from datetime import datetime
from typing import Annotated

from fastapi import Depends, FastAPI, Query
from fastapi.responses import HTMLResponse
from pydantic import BaseModel

from services.alerts.core.effect import DIMENSIONS, Dimension, Effect
from services.alerts.core.wording.effect import claim_text
from services.alerts.core.wording.numbers import Language
from services.alerts.inbound.http.dependencies import Parts
from services.alerts.store.uplift_fits import StoredFit
from shared.http.access import require
from shared.http.fields import Instant


class ArmView(BaseModel):
    """One side of the comparison."""

    customers: int
    returned: int
    """Customers who bought again within the horizon."""
    rate: float | None
    rate_low: float
    rate_high: float
    revenue_mean: float | None


class EffectView(BaseModel):
    """Treated against held out; differences are treated minus held out, intervals 95 %."""

    treated: ArmView
    held_out: ArmView
    uplift: float | None
    uplift_low: float
    uplift_high: float
    """Newcombe: valid for one evaluation that was planned beforehand."""
    anytime_low: float
    anytime_high: float
    """Valid however often it is evaluated; the claim rests on it."""
    revenue_uplift: float | None
    revenue_low: float | None
    revenue_high: float | None
    saved: float | None
    """Customers kept."""
    claim: str
    """`helps`, `harms`, `no_effect_seen` or `not_enough_data`."""
    reading: str
    """The claim as a sentence."""


class LearnedView(BaseModel):
    """What was learned about single customers, and whether it serves."""

    version: int
    fitted_at: datetime
    decision: str
    """`serves`, `not_better` or `not_enough_trials`."""
    note: str
    trials: int


class ReportView(BaseModel):
    """The effect of a policy, whole and in parts."""

    policy: str
    begin: datetime | None
    end: datetime | None
    unmeasured: int
    """Warnings that are not measured yet: the window or the wait for late purchases is not over."""
    learned: LearnedView | None
    """The newest fit of effects on single customers; null before the first."""
    withheld: int
    """Tasks withheld in the period because they clearly do not help (`effect withheld`)."""
    whole: EffectView
    parts: dict[Dimension, dict[str, EffectView]]


Language_ = Annotated[Language, Query(description="of the words")]


def add_effect(app: FastAPI, parts: Parts) -> None:
    """Add `/v1/effect` and `/v1/effect/report`."""
    measure, page = parts.measure_effect, parts.effect_page
    # In a thread, since a page takes up to a second; one at a time: settings of plots are global.
    drawing = asyncio.Lock()
    reads = [Depends(require(parts.tokens, "customers:read"))]

    @app.get("/v1/effect", dependencies=reads, tags=["effect"])
    async def read_effect(
        policy: str | None = None,
        begin: Instant | None = None,
        end: Instant | None = None,
        by: Annotated[list[Dimension] | None, Query()] = None,
        language: Language_ = "en",
    ) -> ReportView:
        """Return whether the tasks keep customers: treated against held out, with intervals."""
        report = await measure(policy, begin, end, by or DIMENSIONS)
        return ReportView(
            policy=report.policy,
            begin=report.begin,
            end=report.end,
            unmeasured=report.unmeasured,
            learned=None if report.learned is None else _learned(report.learned),
            withheld=report.withheld,
            whole=_view(report.whole, language),
            parts={
                dimension: {name: _view(effect, language) for name, effect in groups.items()}
                for dimension, groups in report.parts.items()
            },
        )

    @app.get("/v1/effect/report", dependencies=reads, tags=["effect"], response_class=HTMLResponse)
    async def read_page(
        policy: str | None = None,
        begin: Instant | None = None,
        end: Instant | None = None,
        language: Language_ = "en",
    ) -> HTMLResponse:
        """Return the same as one self-contained page with plots."""
        report = await measure(policy, begin, end)
        async with drawing:
            return HTMLResponse(await asyncio.to_thread(page, report, language))


def _learned(stored: StoredFit) -> LearnedView:
    return LearnedView(
        version=stored.version,
        fitted_at=stored.fitted_at,
        decision=stored.fit.decision,
        note=stored.note,
        trials=stored.fit.trials,
    )


def _view(effect: Effect, language: Language) -> EffectView:
    low, high = effect.revenue_interval
    known = low == low  # noqa: PLR0124 (NaN differs from itself)
    arms = {
        name: ArmView(
            customers=arm.n,
            returned=arm.returned,
            rate=arm.rate,
            rate_low=arm.interval.low,
            rate_high=arm.interval.high,
            revenue_mean=arm.revenue_mean,
        )
        for name, arm in (("treated", effect.treated), ("held_out", effect.held_out))
    }
    return EffectView(
        **arms,
        uplift=effect.uplift,
        uplift_low=effect.interval.low,
        uplift_high=effect.interval.high,
        anytime_low=effect.anytime.low,
        anytime_high=effect.anytime.high,
        revenue_uplift=effect.revenue_uplift,
        revenue_low=low if known else None,
        revenue_high=high if known else None,
        saved=effect.saved,
        claim=effect.claim,
        reading=claim_text(effect.claim, language),
    )
