"""`POST /v1/identities`: which ids are one customer, for callers who make no CloudEvents."""

import uuid
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import msgspec
from fastapi import Depends, FastAPI, Request, Response
from msgspec import Meta

from services.ingest.core.faults import decoded
from services.ingest.inbound.http.parts import JSON, RESULT, Parts, answers, reported
from services.ingest.ports import Answer
from shared.contracts.events import IDENTITY, Identifier, Identity
from shared.http.access import held_by
from shared.http.declared import audits
from shared.http.holder import Holder
from shared.http.idempotency import Key
from shared.observability.tracing import here

IDENTITIES: Final = "/v1/identities"

SOURCE: Final = "api/identities"


class _Given(Identity, kw_only=True, forbid_unknown_fields=True):
    customer: Identifier
    time: Annotated[datetime, Meta(tz=True)] | None = None


_DECODER: Final = msgspec.json.Decoder(_Given)
_TEXT: Final = {"type": "string"}
BODY: Final[dict[str, Any]] = {
    "required": True,
    "content": {
        JSON: {
            "schema": {
                "type": "object",
                "required": ["customer"],
                "properties": {
                    "customer": _TEXT | {"description": "One of the ids; of a contact, its own"},
                    "kind": {"enum": ["linked", "unlinked", "contact"], "default": "linked"},
                    "ids": {
                        "type": "array",
                        "items": _TEXT,
                        "maxItems": 50,
                        "description": "The other ids; of a contact, the account",
                    },
                    "primary": _TEXT | {"description": "The id that the customer is to have"},
                    "device": {"type": "boolean", "description": "Seen on one device"},
                    "time": {"type": "string", "format": "date-time"},
                },
            }
        }
    },
}


def add_identities(app: FastAPI, parts: Parts) -> None:
    """Add the route, guarded by the scopes `events:write` and `data:write`."""

    @audits("personal", customer="customer")
    async def post_identities(
        request: Request,
        holder: Annotated[Holder, Depends(held_by(parts.tokens, "events:write", "data:write"))],
        key: Key = None,
    ) -> Response:
        """202 once the statement is acknowledged by Kafka; 422 where it cannot be accepted.

        What scoring decides on it is read there: `GET /v1/customers/{id}` lists a customer's ids,
        and a refused statement is a dead letter with its reason.
        """

        async def work() -> Answer:
            event = _event(await request.body(), parts.clock.now())
            async with parts.room.one():
                done = await parts.publish(
                    event, here(), admit=parts.admit(f"token {holder.token_id}")
                )
            return reported(done)

        return await parts.answered_once(holder, key, request, work)

    app.add_api_route(
        IDENTITIES,
        post_identities,
        methods=["POST"],
        status_code=202,
        response_class=Response,
        openapi_extra={"requestBody": BODY},
        responses=answers(
            RESULT, s202="Acknowledged by Kafka", s422="The statement cannot be accepted"
        ),
    )


def _event(body: bytes, now: datetime) -> bytes:
    """Returns the statement as a CloudEvent; raises Invalid for a body that is none."""
    given = decoded(_DECODER, body, "body")
    data = Identity(kind=given.kind, ids=given.ids, primary=given.primary, device=given.device)
    return msgspec.json.encode(
        {
            "specversion": "1.0",
            "id": str(uuid.uuid4()),
            "source": SOURCE,
            "type": IDENTITY,
            "time": (given.time or now).astimezone(UTC),
            "subject": given.customer,
            "data": data,
        }
    )
