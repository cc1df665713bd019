"""The callback of webhooks: a message signed with the endpoint's own key (Standard Webhooks).

It lets a receiver without an API token close tasks, but only those that were sent to its endpoint,
and a provider report what became of messages to customers. A repeated message gets the same answer:
a verdict is given once.
"""

from base64 import b64encode
from dataclasses import dataclass
from secrets import token_bytes
from typing import Literal

import msgspec
from fastapi import FastAPI, HTTPException, Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy.ext.asyncio import AsyncEngine

from services.alerts.delivery.core.endpoint import SIGNING, Endpoint
from services.alerts.delivery.core.signature import verify
from services.alerts.delivery.store.delivery_log import DeliveryLog
from services.alerts.delivery.store.endpoints import Endpoints
from services.alerts.handlers.give_verdict import Conflict, GiveVerdict
from services.alerts.handlers.take_message_result import TakeMessageResult
from services.alerts.inbound.http.tasks import VerdictBody, given
from shared.contracts.customer_message import RESULT, RESULT_DECODER, Reported, Result
from shared.contracts.reading import read
from shared.http.borders import BodyRule
from shared.http.content import TooDeep, look_at
from shared.http.declared import audits
from shared.kernel.errors import UNREADABLE, Invalid
from shared.postgres.engine import unit_of_work
from shared.runtime.clock import Clock

CALLBACKS = "/v1/callbacks"
"""Paths below it need no token: a signature of the content authenticates the sender."""

BODIES = {CALLBACKS: BodyRule(bytes_max=65_536, seconds_max=5.0, raw=True)}
"""Limits of a body. A verdict with the longest note in the longest encoding, and a CRM's
notification of 100 records, take a third of the bytes. The time is short, since strangers may send
bodies too."""

REFUSED = HTTPException(401, "not signed by a key of this endpoint, or not within 5 minutes")
"""The answer to every request that is not genuine: details would only help an attacker."""


UNUSED_KEY = "whsec_" + b64encode(token_bytes(32)).decode()
"""A random key that no endpoint has."""


class _Typed(msgspec.Struct):
    type: str


class CallbackData(VerdictBody):
    """An owner's verdict, and the id of the task."""

    task_id: str = Field(max_length=200)


class CallbackBody(BaseModel):
    """A Standard Webhooks payload sent to Ebbwatch."""

    model_config = ConfigDict(extra="ignore")

    type: Literal["retention_task.verdict"]
    data: CallbackData


class ResultAccepted(BaseModel):
    """A message to a customer after a provider's report."""

    message_id: str | None
    """None: the report named a customer and no message."""
    outcome: Result
    """The gravest result reported of the message so far."""
    unsubscribed: bool


class VerdictAccepted(BaseModel):
    """The task after the verdict."""

    task_id: str
    status: str
    verdict: str | None


@dataclass(frozen=True, slots=True)
class Returning:
    """The dependencies of the route."""

    engine: AsyncEngine
    endpoints: Endpoints
    log: DeliveryLog
    give_verdict: GiveVerdict
    take_result: TakeMessageResult
    clock: Clock


def add_callbacks(app: FastAPI, returning: Returning) -> None:
    """Add `/v1/callbacks/{endpoint_id}`, which needs a signature instead of a token."""

    @app.post("/v1/callbacks/{endpoint_id}")
    @audits("signed")
    async def take_callback(endpoint_id: str, request: Request) -> VerdictAccepted | ResultAccepted:
        """Take what a receiver reports, signed with its own key.

        `retention_task.verdict`: an owner's verdict on a task; `customer_message.result`: what
        became of a message to a customer.
        """
        body = await request.body()
        async with unit_of_work(returning.engine) as work:
            try:
                endpoint = await returning.endpoints.find(work, endpoint_id)
            except Invalid:
                endpoint = None  # its secrets cannot be opened: nothing can be verified
        _must_be_genuine(endpoint, request, body, returning.clock)
        if _type(body) == RESULT:
            return await _take_result(returning, endpoint_id, read(RESULT_DECODER, body).data)
        return await _take_verdict(returning, endpoint_id, _decoded(body))


async def _take_verdict(
    returning: Returning, endpoint_id: str, data: CallbackData
) -> VerdictAccepted:
    unknown = HTTPException(404, f"this endpoint was sent no task {data.task_id!r}")
    if not await returning.log.was_sent(endpoint_id, data.task_id):
        raise unknown
    actor = f"endpoint:{endpoint_id}"
    result = await returning.give_verdict(given(data.task_id, data, actor))
    if result is None:
        raise unknown
    if isinstance(result, Conflict):
        raise HTTPException(409, f"this task has the verdict `{result.task.verdict}` already")
    return VerdictAccepted(task_id=result.id, status=result.status, verdict=result.verdict)


async def _take_result(
    returning: Returning, endpoint_id: str, reported: Reported
) -> ResultAccepted:
    taken = await returning.take_result(endpoint_id, reported)
    if taken is None:
        raise HTTPException(404, "this endpoint was sent no such message to a customer")
    return ResultAccepted.model_validate(taken, from_attributes=True)


def _must_be_genuine(
    endpoint: Endpoint | None, request: Request, body: bytes, clock: Clock
) -> None:
    """Raise 401 unless one of the endpoint's keys signed this within 5 minutes."""
    now = clock.now()
    known = endpoint is not None and endpoint.kind == "webhook"
    # Without a key, compare with a random one, so that the response time reveals nothing.
    secrets = (
        endpoint.valid_secrets(SIGNING, now) if endpoint is not None and known else (UNUSED_KEY,)
    )
    try:
        verify(request.headers, body, secrets, now)
    except Invalid:
        known = False
    if not known:
        raise REFUSED


def _type(body: bytes) -> str:
    """Return the type of a message; an empty one where it is not readable."""
    try:
        look_at(body)
        return msgspec.json.decode(body, type=_Typed).type
    except TooDeep:
        raise Invalid("body", "nested too deep") from None
    except UNREADABLE:
        return ""


def _decoded(body: bytes) -> CallbackData:
    try:
        return CallbackBody.model_validate_json(body).data
    except ValidationError as wrong:
        first = wrong.errors()[0]
        raise Invalid(".".join(str(part) for part in first["loc"]), first["msg"]) from None
