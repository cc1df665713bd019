"""HTTP API of announced absences: days that do not count as a customer's silence.

Reading requires `customers:read` or `data:write`, announcing the latter.
"""

from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any, Final

from fastapi import Depends, FastAPI, HTTPException, Response
from pydantic import BaseModel

from services.scoring.inbound.http.value import CustomerId, Reason
from services.scoring.store.audited import ABSENCE
from services.scoring.store.definitions import Decisions
from services.scoring.store.identity_queries import IdentityQueries
from shared.http.access import Tokens, require
from shared.http.declared import audits
from shared.http.fields import Instant
from shared.kernel.errors import Invalid
from shared.runtime.clock import Clock

ABSENCE_DAYS_MAX: Final = 366
"""Longest absence in days: a longer one is regarded as leaving."""

EXAMPLE: Final[dict[str, Any]] = {
    "begins_at": "2026-07-01T00:00:00Z",
    "ends_at": "2026-08-15T00:00:00Z",
    "reason": "on parental leave, back in August",
}


class Absence(BaseModel):
    """Absence announced by a customer or an owner. Times have a UTC offset."""

    model_config = {"json_schema_extra": {"examples": [EXAMPLE]}}

    begins_at: Instant
    ends_at: Instant
    reason: Reason


class Announced(BaseModel):
    """Stored absence; an earlier version may have stored it, which accepted any times."""

    model_config = {
        "json_schema_extra": {"examples": [EXAMPLE | {"announced_at": "2026-06-20T08:30:00Z"}]}
    }

    begins_at: datetime
    ends_at: datetime
    reason: str
    announced_at: datetime


def checked(begins_at: datetime, ends_at: datetime) -> None:
    """Raises Invalid, naming the field, for a period that cannot be intended."""
    if not begins_at < ends_at <= begins_at + timedelta(days=ABSENCE_DAYS_MAX):
        raise Invalid("ends_at", f"lies within {ABSENCE_DAYS_MAX} days after begins_at")


def add_absence_routes(
    app: FastAPI, decisions: Decisions, identity: IdentityQueries, tokens: Tokens, clock: Clock
) -> None:
    """Adds `/v1/absences/{customer_id}`."""
    reads = [Depends(require(tokens, "customers:read", "data:write"))]
    writes = [Depends(require(tokens, "data:write"))]

    @app.get("/v1/absences/{customer_id:path}", dependencies=reads)
    async def absence(customer_id: CustomerId) -> Announced:
        """Returns the newest absence of a customer, past or future."""
        found = await decisions.absence(await identity.primary(customer_id))
        if found is None:
            raise HTTPException(404, f"no absence of {customer_id!r} was announced")
        return Announced(**asdict(found))

    @app.put("/v1/absences/{customer_id:path}", dependencies=writes, status_code=204)
    @audits("personal", ABSENCE)
    async def announce(customer_id: CustomerId, given: Absence) -> Response:
        """Announces an absence in place of an earlier one: its days do not count as silence."""
        checked(given.begins_at, given.ends_at)
        customer = await identity.primary(customer_id)
        await decisions.announce_absence(
            customer,
            given.begins_at,
            given.ends_at,
            given.reason,
            clock.now(),
        )
        return Response(status_code=204)

    @app.delete("/v1/absences/{customer_id:path}", dependencies=writes, status_code=204)
    @audits("personal", ABSENCE)
    async def end(customer_id: CustomerId) -> Response:
        """Deletes an absence: all days count again."""
        if not await decisions.end_absence(await identity.primary(customer_id)):
            raise HTTPException(404, f"no absence of {customer_id!r} was announced")
        return Response(status_code=204)
