"""What the routes have in common: their parts, how many requests at once, and their answers."""

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
from fastapi import HTTPException, Request, Response

from services.ingest import metrics
from services.ingest.core.http_sources import HttpSource
from services.ingest.core.mapping.document import CompiledMapping
from services.ingest.core.sender_rates import SenderRates, TooMany
from services.ingest.handlers.answer_once import AnswerOnce
from services.ingest.handlers.publish_events import Admit, Published, PublishEvents
from services.ingest.handlers.publish_mapped import PublishMapped
from services.ingest.ports import Answer
from shared.http.access import Tokens
from shared.http.holder import Holder
from shared.http.problems import PROBLEM_JSON
from shared.kernel.errors import Transient
from shared.runtime.clock import Clock

REQUESTS_MAX: Final = 16
"""Requests being sent to Kafka, or queued for it, at once; their bodies have been read."""

JSON: Final = "application/json"


class Room:
    """Counts the requests in progress of all routes together."""

    def __init__(self) -> None:
        self._open = 0

    @asynccontextmanager
    async def one(self) -> AsyncIterator[None]:
        """Hold a place; raises Transient when all are taken."""
        if self._open >= REQUESTS_MAX:
            raise Transient(f"{REQUESTS_MAX} requests are under way")
        self._open += 1
        try:
            yield
        finally:
            self._open -= 1


@dataclass(frozen=True, slots=True)
class Parts:
    """What the routes need."""

    publish: PublishEvents
    mapped: PublishMapped
    mapping_of: Callable[[str], CompiledMapping | None]
    """Returns the mapping of a source; None: there is none. Raises Transient while it is unknown
    or unusable."""
    sources: Mapping[str, HttpSource]
    tokens: Tokens
    rates: SenderRates
    once: AnswerOnce
    clock: Clock
    room: Room = field(default_factory=Room)

    def admit(self, sender: str) -> Admit:
        """Return the function that counts the events of a sender's request: 429 for too many."""

        def count(events: int) -> None:
            try:
                self.rates.admit(sender, events, self.clock.monotonic())
            except TooMany as full:
                wait = {"Retry-After": str(full.wait_s)}
                raise HTTPException(429, f"too many events: {full}", wait) from None

        return count

    async def answered_once(
        self,
        holder: Holder,
        key: str | None,
        request: Request,
        work: Callable[[], Awaitable[Answer]],
    ) -> Response:
        """Return the answer of `work`, or the earlier answer to the same request with this key.

        Raises Invalid where the key was used for another request.
        """
        if key is None:
            return respond(await work())
        said = f"{request.url.path}\n{request.headers.get('content-type', '')}\n"
        binary = sorted(item for item in request.headers.items() if item[0].startswith("ce-"))
        digest = hashlib.sha256(f"{said}{binary}\n".encode() + await request.body()).digest()
        owner = holder.key
        return respond(await self.once(owner, key, digest, work))


def respond(answer: Answer) -> Response:
    """Returns an answer as a response."""
    return Response(answer.body, status_code=answer.status, media_type=JSON)


def reported(done: Published) -> Answer:
    """Counts a request's events and returns the answer for its sender.

    202 when something was accepted or nothing was refused, else 422.
    """
    count(done)
    status = 202 if done.accepted or done.ignored or not done.refused else 422
    return Answer(status, msgspec.json.encode(done))


def count(done: Published) -> None:
    """Counts a request's events."""
    for outcome, events in (
        ("accepted", done.accepted),
        ("ignored", done.ignored),
        ("refused", len({refusal.index for refusal in done.refused})),
        ("noted", len({note.index for note in done.noted})),
    ):
        if events:
            metrics.HTTP_EVENTS.labels(outcome).inc(events)


_REPORTS: Final = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["index", "field", "reason"],
        "properties": {
            "index": {"type": "integer", "description": "From 0, in the request"},
            "field": {"type": "string"},
            "reason": {"type": "string"},
        },
    },
}
RESULT: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["accepted", "ignored", "refused", "noted"],
    "properties": {
        "accepted": {"type": "integer"},
        "ignored": {"type": "integer", "description": "Records that a mapping ignores"},
        "refused": _REPORTS,
        "noted": _REPORTS,
    },
}
"""Schema of the answer."""

Responses = dict[int | str, dict[str, Any]]

TOO_MANY: Final[Responses] = {
    429: {
        "description": "This sender has sent too many events within a minute",
        "content": {PROBLEM_JSON: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        "headers": {"Retry-After": {"schema": {"type": "string"}}},
    }
}


def answers(schema: dict[str, Any], **texts: str) -> Responses:
    """Describes a route's answers for OpenAPI; `texts`: by status, as `s202="Acknowledged"`."""
    return TOO_MANY | {
        int(code[1:]): {"description": text, "content": {JSON: {"schema": schema}}}
        for code, text in texts.items()
    }
