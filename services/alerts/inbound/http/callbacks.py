"""A webhook's way back: a verdict signed with the endpoint's own key, as Standard Webhooks says.

Who holds no API token can close tasks so, and only tasks that this endpoint was told of. A
message that is repeated changes nothing and gets the same answer: a verdict is given once.
"""

from base64 import b64encode
from dataclasses import dataclass
from secrets import token_bytes
from typing import Literal

from fastapi import FastAPI, HTTPException, Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy.ext.asyncio import AsyncEngine

from services.alerts.delivery.core.endpoint import SIGNING, Endpoint
from services.alerts.delivery.core.signature import verify
from services.alerts.delivery.ports import (
    EndpointFinder,
)
from services.alerts.delivery.store.delivery_log import DeliveryLog
from services.alerts.handlers.give_verdict import Conflict, GiveVerdict
from services.alerts.inbound.http.tasks import VerdictBody, given
from shared.http.borders import BodyRule
from shared.http.content import TooDeep, look_at
from shared.kernel.errors import Invalid
from shared.postgres.engine import unit_of_work
from shared.runtime.clock import Clock

CALLBACKS = "/v1/callbacks"
"""Below it nobody holds a token: who sends proves it by a signature of the content."""

BODIES = {CALLBACKS: BodyRule(bytes_max=65_536, seconds_max=5.0, raw=True)}
"""A verdict with the longest note in the longest encoding, and a CRM's notification of 100 records,
are a third of it. A stranger may send one, so it has little time."""

REFUSED = HTTPException(401, "not signed by a key of this endpoint, or not within 5 minutes")
"""One answer for all that is not genuine: which part was wrong helps only who guesses."""


NOBODYS = "whsec_" + b64encode(token_bytes(32)).decode()
"""A key that nobody has."""


class CallbackData(VerdictBody):
    """What the owner says, and about which task."""

    task_id: str = Field(max_length=200)


class CallbackBody(BaseModel):
    """A Standard Webhooks payload that comes to us."""

    model_config = ConfigDict(extra="ignore")

    type: Literal["retention_task.verdict"]
    data: CallbackData


class VerdictAccepted(BaseModel):
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
    async def take_callback(endpoint_id: str, request: Request) -> VerdictAccepted:
        """A verdict from a receiver: type `retention_task.verdict`, signed with its own key."""
        body = await request.body()
        async with unit_of_work(returning.engine) as work:
            try:
                endpoint = await returning.endpoints.find(work, endpoint_id)
            except Invalid:
                endpoint = None  # its secrets cannot be opened: nothing can be verified
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
        return VerdictAccepted(task_id=result.id, status=result.status, verdict=result.verdict)


def _must_be_genuine(
    endpoint: Endpoint | None, request: Request, body: bytes, clock: Clock
) -> None:
    """401 unless one of the endpoint's keys signed this just now."""
    now = clock.now()
    known = endpoint is not None and endpoint.kind == "webhook"
    # Compared with a key of nobody where there is none, so that the time tells nothing either.
    secrets = endpoint.standing(SIGNING, now) if endpoint is not None and known else (NOBODYS,)
    try:
        verify(request.headers, body, secrets, now)
    except Invalid:
        known = False
    if not known:
        raise REFUSED


def _decoded(body: bytes) -> CallbackData:
    try:
        look_at(body)
        return CallbackBody.model_validate_json(body).data
    except TooDeep:
        raise Invalid("body", "nested too deep") from None
    except ValidationError as wrong:
        first = wrong.errors()[0]
        raise Invalid(".".join(str(part) for part in first["loc"]), first["msg"]) from None
