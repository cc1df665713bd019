"""HTTP routes of CRM connectors: the owner table, and a check of the mapping against the CRM."""

from typing import Annotated

from fastapi import Depends, FastAPI
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.ext.asyncio import AsyncEngine

from services.alerts.connectors.store import OwnerRows
from services.alerts.delivery.core.endpoint import Endpoint
from services.alerts.delivery.store.endpoint_admin import NoEndpoint
from services.alerts.delivery.store.endpoints import Endpoints
from services.alerts.inbound.http.endpoints import CheckRemote
from services.alerts.store.audited import OWNER_TABLE
from shared.http.access import Tokens, require
from shared.http.declared import audits
from shared.postgres.engine import unit_of_work

OWNERS_MAX = 20_000
"""Most rows of one owner table: the account owners of a large company."""

OwnerId = Annotated[str, Field(min_length=1, max_length=200)]


class OwnerTableBody(BaseModel):
    """Our id of an account owner -> the CRM's id of the same person."""

    model_config = ConfigDict(extra="forbid")

    owners: dict[OwnerId, OwnerId] = Field(max_length=OWNERS_MAX)


class Fits(BaseModel):
    """Whether the mapping fits the CRM as it is now."""

    fits: bool


def add_connectors(
    app: FastAPI,
    engine: AsyncEngine,
    tokens: Tokens,
    endpoints: Endpoints,
    check_remote: CheckRemote,
) -> None:
    """Add `/v1/endpoints/{id}/owners` and `/v1/endpoints/{id}/check`."""
    rights = [Depends(require(tokens, "endpoints:write"))]
    rows = OwnerRows(engine)

    async def found(endpoint_id: str) -> Endpoint:
        async with unit_of_work(engine) as work:
            endpoint = await endpoints.find(work, endpoint_id)
        if endpoint is None:
            raise NoEndpoint(endpoint_id)
        return endpoint

    @app.get("/v1/endpoints/{endpoint_id}/owners", dependencies=rights)
    async def read_owners(endpoint_id: str) -> OwnerTableBody:
        """Return the owner table of an endpoint."""
        await found(endpoint_id)
        return OwnerTableBody(owners=await rows.all_of(endpoint_id))

    @app.put("/v1/endpoints/{endpoint_id}/owners", dependencies=rights)
    @audits("kept", OWNER_TABLE)
    async def replace_owners(endpoint_id: str, body: OwnerTableBody) -> OwnerTableBody:
        """Replace the owner table of an endpoint."""
        await found(endpoint_id)
        await rows.replace(endpoint_id, body.owners)
        return body

    @app.post("/v1/endpoints/{endpoint_id}/check", dependencies=rights)
    @audits("kept")
    async def check(endpoint_id: str) -> Fits:
        """Compare the mapping with the CRM's own definitions; 422 names what does not fit."""
        await check_remote(await found(endpoint_id))
        return Fits(fits=True)
