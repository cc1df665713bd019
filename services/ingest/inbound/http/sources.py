"""Receives sources' own records: `POST /v1/sources/{name}`, signed by the vendor or with a token.

A signature is verified before anything reads the body, and an unknown name is answered like a wrong
signature, after the same work.
"""

import re
from typing import Annotated, Final

import msgspec
from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from services.ingest import metrics
from services.ingest.core.bodies import split
from services.ingest.core.http_sources import HttpSource
from services.ingest.core.mapping.document import CompiledMapping
from services.ingest.core.signatures import HEADERS, genuine
from services.ingest.inbound.http.events import BODY, form_of
from services.ingest.inbound.http.parts import (
    RESULT,
    Parts,
    answers,
    count,
    reported,
    respond,
)
from services.ingest.ports import Answer
from shared.contracts.dead_letter import Headers
from shared.http.access import held_by
from shared.http.declared import admits, audits
from shared.http.holder import Holder
from shared.http.idempotency import Key
from shared.kernel.errors import Invalid, Transient
from shared.observability.tracing import here

SOURCES: Final = "/v1/sources"

AT_ONCE_MAX: Final = 32
"""Requests at once: of a stranger the whole body is read before the signature shows it, so that 32
MiB of theirs are held at most. A vendor that is answered 503 repeats the request."""

PASSED_ON: Final = (
    "x-shopify-topic",
    "x-shopify-shop-domain",
    "x-wc-webhook-topic",
    "x-wc-webhook-source",
)
"""Headers that a mapping may read by `header(…)`."""

PING: Final = re.compile(rb"webhook_id=[0-9]{1,20}")
"""What WooCommerce sends, unsigned, when a webhook is activated; it reports an error unless it is
answered with 200. It is answered for every name, and nothing is done."""

_DECOY: Final = HttpSource(signature="shopify", secrets=["no source has it"])
"""Takes the place of an unknown source, so that one takes as long to refuse as a known one."""


def add_sources(app: FastAPI, parts: Parts) -> None:
    """Add the route, guarded by a signature or by the scope `events:write`."""
    check = held_by(parts.tokens, "events:write")

    async def sender(
        request: Request,
        credentials: Annotated[
            HTTPAuthorizationCredentials | None, Depends(HTTPBearer(auto_error=False))
        ],
    ) -> Holder | None:
        if "authorization" not in request.headers:
            return None
        return await check(request, credentials)

    @audits("events")
    async def post_source(
        name: str,
        request: Request,
        holder: Annotated[Holder | None, Depends(admits(sender, ("events:write",)))],
        key: Key = None,
    ) -> Response:
        """Records in a source's own form, which its mapping turns into events.

        Signed by the vendor (Shopify, WooCommerce, Stripe): 200 once Kafka has acknowledged, also
        for a record that is refused, since it is kept and repeating it would not help. With a
        token: 202, or 422 where every record was refused.
        """
        body = await request.body()
        if holder is not None:
            return await _with_token(parts, name, holder, key, request)
        if PING.fullmatch(body):
            return respond(Answer(200, b"{}"))
        known = parts.sources.get(name)
        source = known or _DECOY
        now_s = parts.clock.now().timestamp()
        signed = genuine(source.signature, request.headers, body, source.secrets, now_s)
        # Of two signatures another reader on the way may have checked the other one.
        several = len(request.headers.getlist(HEADERS[source.signature])) > 1
        if known is None or not signed or several:
            metrics.HTTP_UNSIGNED.inc()
            raise HTTPException(401, "no genuine signature", {"WWW-Authenticate": "Bearer"})
        mapping = parts.mapping_of(name)
        if mapping is None:
            raise Transient(f"no mapping is in force for the source {name}")
        parts.admit(f"source {name}")(1)
        return respond(await _signed(parts, name, mapping, body, request))

    app.add_api_route(
        f"{SOURCES}/{{name}}",
        post_source,
        methods=["POST"],
        response_class=Response,
        openapi_extra={"requestBody": BODY},
        responses=answers(
            RESULT,
            s200="A vendor's record is acknowledged by Kafka",
            s202="With a token: acknowledged by Kafka; some records may have been refused",
            s422="With a token: every record was refused",
        ),
    )


async def _signed(
    parts: Parts, name: str, mapping: CompiledMapping, body: bytes, request: Request
) -> Answer:
    async with parts.room.one():
        done = await parts.mapped(
            name, mapping, [body], _headers(request), _origin(name), sends_refused=True
        )
    count(done)
    return Answer(200, msgspec.json.encode(done))


async def _with_token(
    parts: Parts, name: str, holder: Holder, key: str | None, request: Request
) -> Response:
    mapping = parts.mapping_of(name)
    if mapping is None:
        detail = "no mapping is in force for this source: `mappings put MAPPING --http SOURCE`"
        raise HTTPException(404, detail)
    form = form_of(request)

    async def work() -> Answer:
        body, headers = await request.body(), _headers(request)
        try:
            values = split(body, form)
        except Invalid as fault:
            parts.mapped.refuse(name, body, fault, headers, _origin(name))
            raise
        parts.admit(f"token {holder.token_id}")(len(values))
        async with parts.room.one():
            return reported(await parts.mapped(name, mapping, values, headers, _origin(name)))

    return await parts.answered_once(holder, key, request, work)


def _headers(request: Request) -> Headers:
    given = ((name, request.headers.get(name)) for name in PASSED_ON)
    found = tuple((name, text.encode()) for name, text in given if text is not None)
    return (*found, *here())


def _origin(name: str) -> str:
    return f"POST {SOURCES}/{name}"
