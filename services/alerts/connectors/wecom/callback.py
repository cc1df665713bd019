"""Handles WeCom's callbacks: the check of our address, and clicks on cards.

Signed and encrypted.
"""

from typing import Annotated, Final

import structlog
from fastapi import BackgroundTasks, FastAPI, Query, Request, Response
from fastapi.responses import PlainTextResponse

from services.alerts.connectors.callbacks import CallbackContext, refused
from services.alerts.connectors.core.config import WecomAppConfig, read_config
from services.alerts.connectors.wecom import crypto
from services.alerts.delivery.core.endpoint import Endpoint
from shared.http.declared import audits
from shared.kernel.errors import Invalid

WINDOW_S: Final = 300
"""Seconds by which a callback's time may differ from ours: beyond that it is a replay; a younger
repetition is recognised by its click."""

Signed = Annotated[str, Query(max_length=64)]
Sealed = Annotated[str, Query(max_length=4_096)]

log = structlog.get_logger(__name__)


def add_wecom(app: FastAPI, place: CallbackContext) -> None:
    """Add `/v1/callbacks/wecom/{endpoint_id}`."""

    @app.get("/v1/callbacks/wecom/{endpoint_id}", include_in_schema=False)
    async def checked(
        endpoint_id: str, msg_signature: Signed, timestamp: Signed, nonce: Signed, echostr: Sealed
    ) -> Response:
        endpoint = await place.endpoint(endpoint_id, "wecom_app")
        plain = _opened(place, endpoint, (msg_signature, timestamp, nonce), echostr)
        return PlainTextResponse(plain.decode("utf-8", "replace"))

    @app.post("/v1/callbacks/wecom/{endpoint_id}", include_in_schema=False)
    @audits("signed")
    async def clicked(
        endpoint_id: str,
        request: Request,
        later: BackgroundTasks,
        msg_signature: Signed,
        timestamp: Signed,
        nonce: Signed,
    ) -> Response:
        endpoint = await place.endpoint(endpoint_id, "wecom_app")
        body = await request.body()
        try:
            sealed = crypto.encrypted_part(body)
            message = _opened(place, endpoint, (msg_signature, timestamp, nonce), sealed)
            click = crypto.click_in(message)
        except Invalid:
            raise refused(endpoint) from None
        if click is not None:
            taken = await place.take_click(endpoint_id, _config(endpoint), click)
            if taken.show is not None and click.response_code:
                later.add_task(_show, place, endpoint, click, taken.show)
        return Response(status_code=200)


def _opened(
    place: CallbackContext, endpoint: Endpoint, signed: tuple[str, str, str], sealed: str
) -> bytes:
    """Return the decrypted content, if WeCom has just signed it; refuse it otherwise."""
    signature, timestamp, nonce = signed
    now = place.clock.now()
    fresh = timestamp.isascii() and timestamp.isdigit()
    fresh = fresh and abs(int(timestamp) - now.timestamp()) <= WINDOW_S
    tokens = endpoint.valid_secrets("callback_token", now)
    if not fresh or not any(
        crypto.is_signed(signature, token, timestamp, nonce, sealed) for token in tokens
    ):
        raise refused(endpoint)
    corp_id = _config(endpoint).corp_id
    for key in endpoint.valid_secrets("callback_aes_key", now):
        try:
            return crypto.decrypt(sealed, corp_id, crypto.key_of(key))
        except Invalid:
            continue
    raise refused(endpoint)


def _config(endpoint: Endpoint) -> WecomAppConfig:
    config = read_config(endpoint.kind, endpoint.config)
    assert isinstance(config, WecomAppConfig)  # noqa: S101 (guaranteed by its kind)
    return config


async def _show(place: CallbackContext, endpoint: Endpoint, click: crypto.Click, text: str) -> None:
    """Change the card; the verdict remains valid whether or not that works."""
    answer = await place.cards.answered(endpoint, click.user_id, click.response_code, text)
    if answer.result != "ok":
        log.warning("the card still shows its buttons", endpoint=endpoint.id, why=answer.error)
