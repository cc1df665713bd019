"""Zoho's notifications. They carry no signature: a secret path and a token say whose they are,
and all that they bring about is a look at Zoho itself."""

import hmac
from datetime import timedelta
from typing import Final

from fastapi import FastAPI, Request, Response

from services.alerts.connectors.callbacks import CallbackContext, refused
from services.alerts.connectors.zoho import api as zoho

APART: Final = timedelta(seconds=2)
"""A look comes so long after a notification: many at once make one look, and the record that
was changed can be seen by then."""


def add_zoho(app: FastAPI, place: CallbackContext) -> None:
    """Add `/v1/callbacks/zoho/{endpoint_id}/{secret}`."""

    @app.post("/v1/callbacks/zoho/{endpoint_id}/{secret}", include_in_schema=False)
    async def notified(endpoint_id: str, secret: str, request: Request) -> Response:
        endpoint = await place.endpoint(endpoint_id, "zoho")
        tokens = endpoint.standing("callback_token", place.clock.now())
        paths = [zoho.path_secret(endpoint_id, token) for token in tokens]
        ours = any(hmac.compare_digest(path.encode(), secret.encode()) for path in paths)
        if not ours or not zoho.is_notification(await request.body(), tokens):
            raise refused(endpoint)
        await place.looks.hasten(endpoint_id, place.clock.now() + APART)
        place.rung.set()
        return Response(status_code=204)
