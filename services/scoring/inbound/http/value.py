"""HTTP API of value: lists to act on, classifications, grades set by hand, the policy.

Reading requires `customers:read`; the policy's decisions require `policy:write`, grades set by hand
`segments:write`, and who may write one may read it.
"""

from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Annotated, Any, Final

import msgspec
from fastapi import Body, Depends, FastAPI, HTTPException, Path, Response
from pydantic import BaseModel, Field

from services.scoring.core.signs.detectors import codes_of
from services.scoring.core.value import policy as policies
from services.scoring.core.value.quality import MEANINGS
from services.scoring.store.audited import GRADE, VALUE_POLICY
from services.scoring.store.classification_queries import After, ClassificationQueries
from services.scoring.store.definitions import Decisions
from services.scoring.store.identity_queries import IdentityQueries
from shared.contracts.events import ID_LENGTH_MAX
from shared.contracts.risk import Grade
from shared.http.access import Tokens, require
from shared.http.declared import audits
from shared.http.fields import Instant
from shared.http.paging import Cursor, Limit, number, of_cursor, page_of
from shared.kernel.errors import Invalid
from shared.runtime.clock import Clock

CustomerId = Annotated[str, Path(min_length=1, max_length=ID_LENGTH_MAX)]
"""Any id that ingest accepts."""
Reason = Annotated[str, Field(min_length=3, max_length=500)]
OVERRIDE_DAYS_MAX: Final = 366
"""Longest time of a grade set by hand, so that it is reviewed within a year."""

EXAMPLE: Final[dict[str, Any]] = {
    "customer_id": "c-1042",
    "at": "2026-03-01T09:00:00Z",
    "grade": "potential",
    "tier": "high",
    "behaviour": "active",
    "lifecycle": "growing",
    "lifecycle_since": "2026-01-12T08:30:00Z",
    "segments": ["big-city"],
    "needs": ["household"],
    "quality": [],
    "rfm": "534",
    "rfm_cell": "potential_loyalist",
    "lifetime_value": 412.5,
    "lifetime_value_days": 365,
    "expected_purchases": 8.1,
    "alive_probability": 0.93,
    "value_at_risk": 11.2,
    "net_spent": 180.0,
    "profit": 54.0,
    "worth": 430.1,
    "overridden": False,
}


CHANGE: Final[dict[str, Any]] = {
    "at": "2026-02-01T09:00:00Z",
    "sequence": 3,
    "kind": "tier_changed",
    "before": "mid",
    "after": "high",
    "segment": None,
    "silent": False,
}
SET_GRADE: Final[dict[str, Any]] = {
    "id": 1,
    "customer_id": "c-1042",
    "grade": "vip",
    "reason": "board member",
    "set_at": "2026-01-05T10:00:00Z",
    "expires_at": "2026-09-30T00:00:00Z",
    "ended_at": "2026-01-20T10:00:00Z",
}
COUNTS: Final = {
    "grade": {"vip": 310, "potential": 640, "regular": 2_110},
    "quality": {"profile_incomplete": 84},
}
POLICY: Final[dict[str, Any]] = {
    "in_force": {"vip": {"share": 0.05, "at_least": None}, "margin": 0.1},
    "versions": [
        {
            "version": 1,
            "policy": {"vip": {"share": 0.05, "at_least": None}, "margin": 0.1},
            "reason": "plan",
            "created_at": "2026-01-05T10:00:00Z",
        }
    ],
}
"""Shortened example: the real response contains every threshold."""


class ClassificationView(BaseModel):
    """Classification of a customer (docs/segmentation.md). None: the data do not define it."""

    model_config = {"json_schema_extra": {"examples": [EXAMPLE]}}

    customer_id: str
    at: datetime
    grade: Grade | None
    tier: str | None
    behaviour: str | None
    lifecycle: str | None
    lifecycle_since: datetime
    segments: list[str]
    needs: list[str]
    quality: list[str]
    rfm: str | None
    rfm_cell: str | None
    lifetime_value: float | None
    lifetime_value_days: int | None
    expected_purchases: float | None
    alive_probability: float | None
    value_at_risk: float | None
    net_spent: float | None
    profit: float | None
    worth: float | None = Field(description="Lifetime value with advocacy")
    overridden: bool
    entered_at: datetime | None = Field(None, description="In a segment's list")
    leading_reason: str | None = Field(
        None, description="In the win-back list: the likely cause of leaving, first of `signs`"
    )
    signs: list[str] = Field([], description="In the win-back list: signs of leaving")
    leaving_cause: str | None = Field(
        None, description="In the win-back list: why they left, as an owner learned it"
    )


class ClassificationPage(BaseModel):
    """Page of customers in the order of the list."""

    model_config = {
        "json_schema_extra": {"examples": [{"items": [EXAMPLE], "next": "NDMwLjEgYy0xMDQy"}]}
    }

    items: list[ClassificationView]
    next: str | None


class ClassificationDetail(BaseModel):
    """Customer with the history of changes and of grades set by hand, newest first."""

    model_config = {
        "json_schema_extra": {
            "examples": [{"standing": EXAMPLE, "changes": [CHANGE], "set_grades": [SET_GRADE]}]
        }
    }

    standing: ClassificationView
    changes: list[dict[str, Any]]
    set_grades: list[dict[str, Any]]


class SetGrade(BaseModel):
    """Grade set by a person, with its reason and its end."""

    model_config = {
        "json_schema_extra": {
            "examples": [
                {"grade": "vip", "reason": "board member", "expires_at": "2026-09-30T00:00:00Z"}
            ]
        }
    }
    grade: Grade
    reason: Reason
    expires_at: Instant


class PolicyIn(BaseModel):
    """Complete new policy with its reason."""

    model_config = {
        "json_schema_extra": {
            "examples": [
                {
                    "policy": {"vip": {"share": 0.05}, "high": {"at_least": 500}},
                    "reason": "plan",
                }
            ]
        }
    }
    policy: dict[str, Any]
    reason: Reason


def example(answer: Any) -> dict[int | str, dict[str, Any]]:
    """Returns an example response for the OpenAPI document, for routes without a response model."""
    return {200: {"content": {"application/json": {"example": answer}}}}


def add_value_routes(
    app: FastAPI,
    lists: ClassificationQueries,
    decisions: Decisions,
    identity: IdentityQueries,
    tokens: Tokens,
    clock: Clock,
) -> None:
    """Adds `/v1/lists/...`, `/v1/standings/...`, `/v1/grades/...` and `/v1/value/...`."""
    _add_lists(app, lists, [Depends(require(tokens, "customers:read"))])
    _add_grades(app, lists, decisions, identity, tokens, clock)
    _add_policy(app, decisions, tokens, clock)


def _add_lists(app: FastAPI, lists: ClassificationQueries, reads: list[Any]) -> None:
    @app.get("/v1/lists/potential-high-value", dependencies=reads)
    async def potential(cursor: Cursor = None, limit: Limit = 50) -> ClassificationPage:
        """Lists potential high-value customers: not VIP, greatest expected future value first."""
        rows = await lists.potential(_after(cursor), limit + 1)
        return _page(rows, limit, "worth")

    @app.get("/v1/lists/win-back", dependencies=reads)
    async def win_back(cursor: Cursor = None, limit: Limit = 50) -> ClassificationPage:
        """Lists churned customers with their cause of leaving, greatest net spend first."""
        rows = await lists.win_back(_after(cursor), limit + 1)
        rows = [row | signs_of(row["signs"]) for row in rows]
        return _page(rows, limit, "net_spent")

    @app.get("/v1/value/counts", dependencies=reads, responses=example(COUNTS))
    async def counts() -> dict[str, dict[str, int]]:
        """Counts customers by grade, tier, behaviour, lifecycle, RFM cell and quality flag."""
        return await lists.counts()

    @app.get("/v1/value/quality-flags", dependencies=reads, responses=example(MEANINGS))
    async def flags() -> dict[str, str]:
        """Returns the meaning of each quality flag."""
        return MEANINGS


def _add_grades(
    app: FastAPI,
    lists: ClassificationQueries,
    decisions: Decisions,
    identity: IdentityQueries,
    tokens: Tokens,
    clock: Clock,
) -> None:
    reads = [Depends(require(tokens, "customers:read", "segments:write"))]
    writes = [Depends(require(tokens, "segments:write"))]

    @app.get("/v1/standings/{customer_id:path}", dependencies=reads)
    async def standing(customer_id: CustomerId) -> ClassificationDetail:
        """Returns a customer's classification and its history."""
        primary = await identity.primary(customer_id)
        row = await lists.one(primary)
        if row is None:
            raise HTTPException(404, f"customer {customer_id!r} has no classification yet")
        return ClassificationDetail(
            standing=ClassificationView(**row),
            changes=await lists.changes(primary),
            set_grades=await decisions.set_grades(primary),
        )

    @app.put("/v1/grades/{customer_id:path}", dependencies=writes, status_code=204)
    @audits("personal", GRADE)
    async def set_grade(customer_id: CustomerId, given: SetGrade) -> Response:
        """Sets a customer's grade by hand until it expires."""
        now = clock.now()
        if not now < given.expires_at <= now + timedelta(days=OVERRIDE_DAYS_MAX):
            raise Invalid("expires_at", f"lies within the next {OVERRIDE_DAYS_MAX} days")
        customer = await identity.primary(customer_id)
        await decisions.set_grade(customer, given.grade, given.reason, now, given.expires_at)
        return Response(status_code=204)

    @app.delete("/v1/grades/{customer_id:path}", dependencies=writes, status_code=204)
    @audits("personal", GRADE)
    async def end_grade(customer_id: CustomerId) -> Response:
        """Ends a grade set by hand: the rules decide again."""
        if not await decisions.end_grade(await identity.primary(customer_id), clock.now()):
            raise HTTPException(404, f"no grade of {customer_id!r} is set by hand")
        return Response(status_code=204)


def _add_policy(app: FastAPI, decisions: Decisions, tokens: Tokens, clock: Clock) -> None:
    reads = [Depends(require(tokens, "customers:read", "policy:write"))]
    writes = [Depends(require(tokens, "policy:write"))]

    @app.get("/v1/value/policy", dependencies=reads, responses=example(POLICY))
    async def policy() -> dict[str, Any]:
        """Returns the policy in force (the defaults where none was saved) and its versions."""
        versions = await decisions.policies()
        current = policies.stored(versions[0].policy) if versions else policies.ValuePolicy()
        kept = [asdict(v) | {"policy": msgspec.json.decode(v.policy)} for v in versions]
        return {"in_force": msgspec.to_builtins(current), "versions": kept}

    @app.put("/v1/value/policy", dependencies=writes, responses=example({"version": 2}))
    @audits("kept", VALUE_POLICY)
    async def save(given: Annotated[PolicyIn, Body()]) -> dict[str, int]:
        """Puts new thresholds in force without a redeploy; omitted ones have their defaults.

        The next assessment of each customer uses them; all are assessed within minutes."""
        policy = policies.parse(msgspec.json.encode(given.policy))
        text = msgspec.json.encode(policy).decode()
        return {"version": await decisions.save_policy(text, given.reason, clock.now())}


def signs_of(bits: int | None) -> dict[str, Any]:
    """Returns the signs of leaving in stored bits, and the most urgent one, as views name them."""
    signs = codes_of(bits or 0)
    return {"signs": signs, "leading_reason": next(iter(signs), None)}


def _after(cursor: str | None) -> After | None:
    if cursor is None:
        return None
    value, customer = of_cursor(cursor, number)
    return value, customer


def _page(rows: list[dict[str, Any]], limit: int, by: str) -> ClassificationPage:
    shown, after = page_of(rows, limit, lambda last: f"{last[by]!r} {last['customer_id']}")
    return ClassificationPage(items=[ClassificationView(**row) for row in shown], next=after)
