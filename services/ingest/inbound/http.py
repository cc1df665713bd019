"""Receives events over HTTP: `POST /v1/events` with a CloudEvent or an array of them."""

from typing import Any

import msgspec
from fastapi import Depends, FastAPI, HTTPException, Request, Response

from services.ingest import metrics
from services.ingest.core.trace import traceparent_of
from services.ingest.handlers.publish_events import EVENTS_MAX, PublishEvents
from shared.contracts.dead_letter import Headers
from shared.contracts.headers import CLOUDEVENTS_JSON, TRACEPARENT
from shared.http.access import Tokens, require
from shared.http.borders import BodyRule
from shared.kernel.errors import Transient

EVENTS = "/v1/events"

BODIES = {EVENTS: BodyRule(bytes_max=5 * 1024 * 1024, seconds_max=30.0, raw=True)}
"""1,000 events of 5 KB, ten times their usual size. Each event is checked on its own."""

REQUESTS_MAX = 16
"""Requests being sent to Kafka, or queued for it, at once; their bodies have been read."""

BINARY_PREFIX = "ce-"
"""Prefix of the headers of CloudEvents' HTTP binary mode."""

NOT_TAKEN = {
    "application/x-ndjson": "NDJSON",
    "application/ndjson": "NDJSON",
    "application/jsonl": "JSON Lines",
    "application/json-seq": "a JSON text sequence",
}
"""Formats that are refused, by media type, with their names."""

_BODY = {
    "requestBody": {
        "required": True,
        "description": f"A CloudEvent, or an array of up to {EVENTS_MAX:,}",
        "content": {
            CLOUDEVENTS_JSON: {"schema": {"type": "object"}},
            "application/cloudevents-batch+json": {
                "schema": {"type": "array", "items": {"type": "object"}}
            },
        },
    }
}

_TOLD = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["index", "field", "reason"],
        "properties": {
            "index": {"type": "integer"},
            "field": {"type": "string"},
            "reason": {"type": "string"},
        },
    },
}
_ANSWER = {
    "type": "object",
    "required": ["accepted", "refused", "noted"],
    "properties": {"accepted": {"type": "integer"}, "refused": _TOLD, "noted": _TOLD},
}
_ANSWERS: dict[int | str, dict[str, Any]] = {
    code: {"description": text, "content": {"application/json": {"schema": _ANSWER}}}
    for code, text in (
        (202, "Acknowledged by Kafka; some events may have been refused"),
        (422, "Every event was refused"),
    )
}


class EventsRoute:
    """The route's handler and its state: how many requests are in progress."""

    def __init__(self, publish: PublishEvents) -> None:
        self._publish = publish
        self._open = 0

    async def post(self, request: Request) -> Response:
        """202 once the acceptable events are acknowledged by Kafka; 422 when there are none.

        Both list by index, field and reason: `refused` events, which are kept as dead letters, and
        what was `noted` of accepted ones.
        """
        _look_at_form(request)
        if self._open >= REQUESTS_MAX:
            raise Transient(f"{REQUESTS_MAX} requests are under way")
        self._open += 1
        try:
            done = await self._publish(await request.body(), _trace(request))
        finally:
            self._open -= 1
        metrics.HTTP_EVENTS.labels("accepted").inc(done.accepted)
        metrics.HTTP_EVENTS.labels("refused").inc(len(done.refusals))
        metrics.HTTP_EVENTS.labels("noted").inc(len({note.index for note in done.notes}))
        return Response(
            msgspec.json.encode(
                {"accepted": done.accepted, "refused": done.refusals, "noted": done.notes}
            ),
            status_code=202 if done.accepted or not done.refusals else 422,
            media_type="application/json",
        )


def add_routes(app: FastAPI, publish: PublishEvents, tokens: Tokens) -> None:
    """Add the route, guarded by the scope `events:write`."""
    app.add_api_route(
        EVENTS,
        EventsRoute(publish).post,
        methods=["POST"],
        dependencies=[Depends(require(tokens, "events:write"))],
        status_code=202,
        response_class=Response,
        openapi_extra=_BODY,
        responses=_ANSWERS,
    )


def _look_at_form(request: Request) -> None:
    """Refuse an unsupported form, naming it, before its content is misread."""
    if any(name.startswith(BINARY_PREFIX) for name in request.headers):
        raise HTTPException(
            415,
            "CloudEvents binary mode (headers `ce-...`) is not taken over HTTP: send structured "
            f"mode, one JSON object with the attributes and `data`, as {CLOUDEVENTS_JSON}",
        )
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if called := NOT_TAKEN.get(media):
        raise HTTPException(415, f"{called} is not taken: send a JSON array of events")
    if media.startswith("application/cloudevents") and not media.endswith("+json"):
        raise HTTPException(415, f"{media[:80]!r} is not taken: send {CLOUDEVENTS_JSON}")


def _trace(request: Request) -> Headers:
    found = request.headers.get(TRACEPARENT)
    return () if found is None else traceparent_of(((TRACEPARENT, found.encode()),))
