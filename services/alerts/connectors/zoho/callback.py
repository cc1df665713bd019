"""Handles Zoho's notifications, which only cause a poll of Zoho.

They carry no signature: a secret path and a token identify the endpoint.
"""

import hmac
from datetime import timedelta
from typing import Final

from fastapi import FastAPI, Request, Response

from services.alerts.connectors.callbacks import CallbackContext, refused
from services.alerts.connectors.zoho import api as zoho
from shared.http.declared import audits

TOLERANCE: Final = timedelta(seconds=2)
"""Delay of the poll after a notification: many notifications at once cause one poll, and the
changed record is visible by then."""


def add_zoho(app: FastAPI, place: CallbackContext) -> None:
    """Add `/v1/callbacks/zoho/{endpoint_id}/{secret}`."""

    @app.post("/v1/callbacks/zoho/{endpoint_id}/{secret}", include_in_schema=False)
    @audits("signed")
    async def notified(endpoint_id: str, secret: str, request: Request) -> Response:
        endpoint = await place.endpoint(endpoint_id, "zoho")
        tokens = endpoint.valid_secrets("callback_token", place.clock.now())
        paths = [zoho.path_secret(endpoint_id, token) for token in tokens]
        ours = any(hmac.compare_digest(path.encode(), secret.encode()) for path in paths)
        if not ours or not zoho.is_notification(await request.body(), tokens):
            raise refused(endpoint)
        await place.polls.hasten(endpoint_id, place.clock.now() + TOLERANCE)
        place.poll_requested.set()
        return Response(status_code=204)
