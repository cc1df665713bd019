"""Segment's HTTP API: `POST /v1/track` and its like, and `/v1/batch`, which the libraries use.

A library of Segment's is pointed here by its setting `host`, with a token of ours as its write key.
"""

from collections.abc import Callable, Coroutine
from typing import Annotated, Any, Final

import msgspec
from fastapi import Depends, FastAPI, Request, Response
from fastapi.security import HTTPBasic

from services.ingest.core import segment
from services.ingest.handlers.publish_events import Published, Refusal
from services.ingest.inbound.http.parts import RESULT, Parts, answers, count, respond
from services.ingest.ports import Answer
from shared.http.access import held_by
from shared.http.declared import audits
from shared.http.holder import Holder
from shared.kernel.errors import Invalid, Transient
from shared.observability.tracing import here

PATHS: Final = tuple(f"/v1/{call}" for call in (*segment.CALLS, segment.BATCH))

_SUCCESS: Final = {"success": {"type": "boolean"}}
_RESULT: Final[dict[str, Any]] = RESULT | {
    "required": [*RESULT["required"], *_SUCCESS],
    "properties": RESULT["properties"] | _SUCCESS,
}
_FIELDS: Final = {
    "messageId": "Makes the call known when it is sent again",
    "userId": "The customer; else `anonymousId`",
    "anonymousId": "A browser or a device",
    "timestamp": "When it happened; else when it arrived",
    "sentAt": "When the library sent it, by the same clock as `timestamp`",
    "event": "Of track: its name, such as `Order Completed`",
    "properties": "Of track, page, screen",
    "traits": "Of identify, group",
    "groupId": "Of group",
    "context": "What surrounds the call, such as the campaign",
}
_CALL: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {name: {"description": text} for name, text in _FIELDS.items()},
}
_BATCH: Final = {
    "type": "object",
    "required": ["batch"],
    "properties": {"batch": {"type": "array", "items": _CALL}},
}


def add_segment(app: FastAPI, parts: Parts) -> None:
    """Add the routes, guarded by the scope `events:write`; the token may be a Basic user name."""
    for call in (*segment.CALLS, segment.BATCH):
        schema = _BATCH if call == segment.BATCH else _CALL
        body = {"required": True, "content": {"application/json": {"schema": schema}}}
        app.add_api_route(
            f"/v1/{call}",
            _route(call, parts),
            methods=["POST"],
            name=f"segment_{call}",
            summary=f"Segment's {call}",
            dependencies=[Depends(HTTPBasic(auto_error=False))],
            response_class=Response,
            openapi_extra={"requestBody": body},
            responses=answers(
                _RESULT,
                s200="Acknowledged by Kafka; some calls may have been refused",
                s400="No call, or every one was refused",
            ),
        )


def _route(call: str, parts: Parts) -> Callable[..., Coroutine[Any, Any, Response]]:
    @audits("events")
    async def post(
        request: Request,
        holder: Annotated[Holder, Depends(held_by(parts.tokens, "events:write"))],
    ) -> Response:
        """200 with `success` once the acceptable calls are acknowledged by Kafka, as from Segment.

        Beside it, what was refused and noted by index, field and reason. Refused calls are kept as
        dead letters.
        """
        mapping = parts.mapping_of(segment.SOURCE)
        if mapping is None:
            raise Transient("no mapping for calls of Segment")
        body, headers, origin = await request.body(), here(), f"POST /v1/{call}"
        now_ms = int(parts.clock.now().timestamp() * 1000)
        try:
            values = segment.calls(call, body, now_ms)
        except Invalid as fault:
            parts.mapped.refuse(segment.SOURCE, body, fault, headers, origin)
            whole = Refusal(0, fault.field, fault.reason)
            return respond(_answer(Published(refused=[whole])))
        parts.admit(f"token {holder.token_id}")(len(values))
        async with parts.room.one():
            done = await parts.mapped(segment.SOURCE, mapping, values, headers, origin)
        return respond(_answer(done))

    return post


def _answer(done: Published) -> Answer:
    """Returns 200, or 400 where nothing was accepted, in the form that the libraries read."""
    count(done)
    if done.accepted or done.ignored or not done.refused:
        return Answer(200, msgspec.json.encode({"success": True} | msgspec.structs.asdict(done)))
    first = done.refused[0]
    said = {
        "success": False,
        "code": "invalid_request",
        "message": f"[{first.index}] {first.field}: {first.reason}",
    }
    return Answer(400, msgspec.json.encode(said | msgspec.structs.asdict(done)))
