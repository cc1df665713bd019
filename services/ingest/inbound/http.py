"""Events over HTTP: `POST /v1/events` with a CloudEvent or an array of them."""

import msgspec
from fastapi import Depends, FastAPI, HTTPException, Request, Response

from services.ingest import metrics
from services.ingest.core.trace import traceparent_of
from services.ingest.handlers.publish_events import EVENTS_MAX, PublishEvents
from shared.contracts.dead_letter import Headers
from shared.contracts.headers import CLOUDEVENTS_JSON, TRACEPARENT
from shared.http.access import Tokens, require
from shared.kernel.errors import Transient

BODY_BYTES_MAX = 5 * 1024 * 1024
"""Of one request: 1,000 events of 5 KB, ten times what they usually have."""

REQUESTS_MAX = 16
"""Requests read or sent at once: 80 MB of bodies at worst. Others are told to come again."""

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


class EventsRoute:
    """The route's state: how many requests are under way."""

    def __init__(self, publish: PublishEvents) -> None:
        self._publish = publish
        self._open = 0

    async def post(self, request: Request) -> Response:
        """202 once the acceptable events are acknowledged by Kafka; 422 when there are none.

        Both list the events that were refused, by index, field and reason.
        """
        if self._open >= REQUESTS_MAX:
            raise Transient(f"{REQUESTS_MAX} requests are under way")
        self._open += 1
        try:
            done = await self._publish(await _read(request), _trace(request))
        finally:
            self._open -= 1
        metrics.HTTP_EVENTS.labels("accepted").inc(done.accepted)
        metrics.HTTP_EVENTS.labels("refused").inc(len(done.refusals))
        return Response(
            msgspec.json.encode({"accepted": done.accepted, "refused": done.refusals}),
            status_code=202 if done.accepted or not done.refusals else 422,
            media_type="application/json",
        )


def add_routes(app: FastAPI, publish: PublishEvents, tokens: Tokens) -> None:
    """Add the route, guarded by the scope `events:write`."""
    app.add_api_route(
        "/v1/events",
        EventsRoute(publish).post,
        methods=["POST"],
        dependencies=[Depends(require(tokens, "events:write"))],
        status_code=202,
        response_class=Response,
        openapi_extra=_BODY,
    )


async def _read(request: Request) -> bytes:
    """The body, never more of it than is allowed."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_BYTES_MAX:
            raise HTTPException(413, f"send at most {BODY_BYTES_MAX:,} bytes at once")
    return bytes(body)


def _trace(request: Request) -> Headers:
    found = request.headers.get(TRACEPARENT)
    return () if found is None else traceparent_of(((TRACEPARENT, found.encode()),))
