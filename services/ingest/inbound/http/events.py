"""Receives CloudEvents: `POST /v1/events`, one, an array, one in each line, or in binary mode."""

from typing import Annotated, Any, Final

from fastapi import Depends, FastAPI, HTTPException, Request, Response

from services.ingest.core.bodies import BINARY_PREFIX, EVENTS_MAX, Form, binary_mode
from services.ingest.inbound.http.parts import JSON, RESULT, Parts, answers, reported
from services.ingest.ports import Answer
from shared.contracts.dead_letter import Headers
from shared.contracts.headers import CLOUDEVENTS_JSON
from shared.http.access import held_by
from shared.http.declared import audits
from shared.http.holder import Holder
from shared.http.idempotency import Key
from shared.observability.tracing import here

EVENTS: Final = "/v1/events"

LINES: Final = ("application/x-ndjson", "application/ndjson", "application/jsonl")
"""Media types of one event in each line."""

AS_JSON: Final = ("", "text/plain", "application/x-www-form-urlencoded")
"""Media types that are read as JSON: what curl and browsers send when a caller names none."""

_OBJECT: Final = {"type": "object"}
_ARRAY: Final = {"type": "array", "items": _OBJECT, "maxItems": EVENTS_MAX}
BODY: Final[dict[str, Any]] = {
    "required": True,
    "description": f"One event, an array of up to {EVENTS_MAX:,}, or as many lines with one each. "
    "In CloudEvents' binary mode: the event's data, with its attributes as headers `ce-…`. "
    "`Content-Encoding: gzip` is taken.",
    "content": {
        CLOUDEVENTS_JSON: {"schema": _OBJECT},
        "application/cloudevents-batch+json": {"schema": _ARRAY},
        JSON: {"schema": {"anyOf": [_OBJECT, _ARRAY]}},
        LINES[0]: {"schema": {"type": "string"}},
    },
}
_ATTRIBUTES: Final = [
    {
        "name": f"{BINARY_PREFIX}{name}",
        "in": "header",
        "required": False,
        "schema": {"type": "string"},
        "description": f"Binary mode: the attribute `{name}`",
    }
    for name in ("specversion", "id", "source", "type", "time", "subject")
]


def add_events(app: FastAPI, parts: Parts) -> None:
    """Add the route, guarded by the scope `events:write`."""

    @audits("events")
    async def post_events(
        request: Request,
        holder: Annotated[Holder, Depends(held_by(parts.tokens, "events:write"))],
        key: Key = None,
    ) -> Response:
        """202 once the acceptable events are acknowledged by Kafka; 422 when there are none.

        Both list by index, field and reason: `refused` events, which are kept as dead letters, and
        what was `noted` of accepted ones.
        """
        form = form_of(request)
        binary: Headers = ()
        if form == "one":
            binary = binary_mode(request.headers.items(), request.headers.get("content-type"))

        async def work() -> Answer:
            async with parts.room.one():
                done = await parts.publish(
                    await request.body(),
                    here(),
                    form,
                    binary,
                    parts.admit(f"token {holder.token_id}"),
                )
            return reported(done)

        return await parts.answered_once(holder, key, request, work)

    app.add_api_route(
        EVENTS,
        post_events,
        methods=["POST"],
        status_code=202,
        response_class=Response,
        openapi_extra={"requestBody": BODY, "parameters": _ATTRIBUTES},
        responses=answers(
            RESULT,
            s202="Acknowledged by Kafka; some events may have been refused",
            s422="Every event was refused",
        ),
    )


def form_of(request: Request) -> Form:
    """Returns what the body holds, by the headers; 415 for what is not read, before it is misread.

    A CloudEvents media type means structured mode, whatever other headers there are.
    """
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media.startswith("application/cloudevents"):
        if not media.endswith("+json"):
            raise HTTPException(415, f"{media[:80]!r} is not taken: send {CLOUDEVENTS_JSON}")
        return "json"
    if any(name.startswith(BINARY_PREFIX) for name in request.headers):
        return "one"
    if media in LINES:
        return "lines"
    if media in AS_JSON or media.endswith(("/json", "+json")):
        return "json"
    raise HTTPException(415, f"{media[:80]!r} is not taken: send {JSON} or {LINES[0]}")
