"""A webhook's way back: a verdict signed with the endpoint's own key, as Standard Webhooks says.

Who holds no API token can close tasks so, and only tasks that this endpoint was told of. A
message that is repeated changes nothing and gets the same answer: a verdict is given once.
"""

from dataclasses import dataclass
from typing import Literal

from fastapi import FastAPI, HTTPException, Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy.ext.asyncio import AsyncEngine

from services.alerts.core.endpoint import SIGNING, Endpoint
from services.alerts.core.signature import verify
from services.alerts.handlers.give_verdict import Conflict, GiveVerdict
from services.alerts.inbound.http.tasks import VerdictBody, given
from services.alerts.ports import EndpointFinder
from services.alerts.store.delivery_log import DeliveryLog
from shared.kernel.errors import Invalid
from shared.postgres.engine import unit_of_work
from shared.runtime.clock import Clock

BODY_BYTES_MAX = 64_000
"""A verdict with the longest note in the longest encoding is a quarter of it."""

REFUSED = HTTPException(401, "not signed by a key of this endpoint, or not within 5 minutes")
"""One answer for all that is not genuine: which part was wrong helps only who guesses."""


class CallbackData(VerdictBody):
    """What the owner says, and about which task."""

    task_id: str = Field(max_length=200)


class CallbackBody(BaseModel):
    """A Standard Webhooks payload that comes to us."""

    model_config = ConfigDict(extra="ignore")

    type: Literal["retention_task.verdict"]
    data: CallbackData


class Taken(BaseModel):
    """How the task stands now."""

    task_id: str
    status: str
    verdict: str | None


@dataclass(frozen=True, slots=True)
class Returning:
    """What the route works with."""

    engine: AsyncEngine
    endpoints: EndpointFinder
    log: DeliveryLog
    give_verdict: GiveVerdict
    clock: Clock


def add_callbacks(app: FastAPI, returning: Returning) -> None:
    """Add `/v1/callbacks/{endpoint_id}`, which is signed instead of wanting a token."""

    @app.post("/v1/callbacks/{endpoint_id}")
    async def take_callback(endpoint_id: str, request: Request) -> Taken:
        """A verdict from a receiver: type `retention_task.verdict`, signed with its own key."""
        body = await _body(request)
        async with unit_of_work(returning.engine) as work:
            endpoint = await returning.endpoints.find(work, endpoint_id)
        _must_be_genuine(endpoint, request, body, returning.clock)
        said = _decoded(body)
        unknown = HTTPException(404, f"this endpoint was told of no task {said.task_id!r}")
        if not await returning.log.was_told(endpoint_id, said.task_id):
            raise unknown
        actor = f"endpoint:{endpoint_id}"
        result = await returning.give_verdict(given(said.task_id, said, actor))
        if result is None:
            raise unknown
        if isinstance(result, Conflict):
            raise HTTPException(409, f"this task has the verdict `{result.task.verdict}` already")
        return Taken(task_id=result.id, status=result.status, verdict=result.verdict)


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_BYTES_MAX:
            raise HTTPException(413, f"at most {BODY_BYTES_MAX} bytes")
    return bytes(body)


def _must_be_genuine(
    endpoint: Endpoint | None, request: Request, body: bytes, clock: Clock
) -> None:
    """401 unless one of the endpoint's keys signed this just now."""
    if endpoint is None or endpoint.kind != "webhook":
        raise REFUSED
    now = clock.now()
    try:
        verify(request.headers, body, endpoint.standing(SIGNING, now), now)
    except Invalid:
        raise REFUSED from None


def _decoded(body: bytes) -> CallbackData:
    try:
        return CallbackBody.model_validate_json(body).data
    except ValidationError as wrong:
        first = wrong.errors()[0]
        raise Invalid(".".join(str(part) for part in first["loc"]), first["msg"]) from None
