"""HTTP API that requests the erasure of a customer."""

from datetime import datetime
from typing import Annotated

from fastapi import Depends, FastAPI
from pydantic import BaseModel, ConfigDict, Field

from services.ingest.handlers.request_erasure import RequestErasure
from shared.contracts.events import ID_LENGTH_MAX
from shared.http.access import Tokens, require
from shared.http.declared import audits

ERASURES = "/v1/erasures"


class ErasureBody(BaseModel):
    """Names the customer to forget."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"customer_id": "c-1042"}]}
    )

    customer_id: Annotated[str, Field(min_length=1, max_length=ID_LENGTH_MAX)]


class ErasureRequested(BaseModel):
    """The request, which each service carries out in turn."""

    request_id: str
    requested_at: datetime
    ask: str = "GET /v1/erasures/{request_id} at ingest, scoring and alerts, each for its own data"


def add_erasures(app: FastAPI, request_erasure: RequestErasure, tokens: Tokens) -> None:
    """Add `POST /v1/erasures`."""
    erases = require(tokens, "customers:erase", "data:write")

    @app.post(ERASURES, status_code=202, tags=["erasures"])
    @audits("personal")
    async def request(body: ErasureBody, by: Annotated[str, Depends(erases)]) -> ErasureRequested:
        """Forget a customer: everything from before this request, in every service.

        Repeating it is safe. The same person may come back later as a new customer.
        """
        request_id, at = await request_erasure(body.customer_id, by)
        return ErasureRequested(request_id=request_id, requested_at=at)
