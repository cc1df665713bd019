"""A minimal CRM: receives signed webhooks, refuses those that do not verify, keeps the rest.

    SAMPLE_CRM_WEBHOOK_SECRET=whsec_… SAMPLE_CRM_PORT=8090 python -m deploy.local.sample_crm

Verification is left to the `standardwebhooks` package, which shares no code with the sender. It
shows what a receiver must do (verify the raw body, know a message by its `webhook-id`) and it
forgets everything when it ends: for the demo and for tests, not for production.
"""

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from fastapi import FastAPI, HTTPException, Request
from pydantic import SecretStr
from pydantic_settings import SettingsConfigDict
from standardwebhooks import Webhook, WebhookVerificationError

from shared.runtime.clock import Clock, SystemClock
from shared.runtime.settings import HttpSettings

BODY_BYTES_MAX = 64 * 1024
"""A webhook stays below 20 kB by its specification; three times that is refused."""

MESSAGES_MAX = 50_000
"""Messages kept, at about 2 kB each; the oldest go first. The demo's year gives a few thousand."""


class SampleCrmSettings(HttpSettings):
    """Read from `SAMPLE_CRM_*`."""

    model_config = SettingsConfigDict(env_prefix="SAMPLE_CRM_")

    port: int = 8090
    webhook_secret: SecretStr


@dataclass(slots=True)
class Inbox:
    """What arrived. The `webhook-id` identifies a message."""

    messages: OrderedDict[str, dict[str, Any]] = field(default_factory=OrderedDict)
    accepted: int = 0
    duplicates: int = 0
    signature_failures: int = 0

    def take(
        self, webhook_id: str, message: Any, received_ms: int, traceparent: str | None
    ) -> bool:
        """Keep a verified message; False when it is a repetition."""
        if webhook_id in self.messages:
            self.duplicates += 1
            return False
        self.accepted += 1
        self.messages[webhook_id] = {
            "webhook_id": webhook_id,
            "received_ms": received_ms,
            "message": message,
            "traceparent": traceparent,
        }
        if len(self.messages) > MESSAGES_MAX:
            self.messages.popitem(last=False)
        return True


def create_app(secret: SecretStr, clock: Clock) -> FastAPI:
    """Creates the receiver: `POST /webhooks`; `GET /stats` and `GET /messages` to read them."""
    app = FastAPI(title="Sample CRM", docs_url=None, redoc_url=None)
    webhook = Webhook(secret.get_secret_value())
    inbox = Inbox()

    @app.post("/webhooks", status_code=204)
    async def receive(request: Request) -> None:
        body = await _body(request)
        try:
            message = webhook.verify(body, dict(request.headers))
        except (WebhookVerificationError, ValueError) as error:
            # The package raises a plain ValueError for a signature that it cannot parse.
            inbox.signature_failures += 1
            raise HTTPException(401, "the signature does not fit this message") from error
        received_ms = int(clock.now().timestamp() * 1000)
        trace = request.headers.get("traceparent")
        inbox.take(request.headers["webhook-id"], message, received_ms, trace)

    @app.get("/stats")
    async def stats() -> dict[str, int]:
        return {
            "accepted": inbox.accepted,
            "duplicates": inbox.duplicates,
            "signature_failures": inbox.signature_failures,
        }

    @app.get("/messages")
    async def messages() -> list[dict[str, Any]]:
        return list(inbox.messages.values())

    return app


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > BODY_BYTES_MAX:
            raise HTTPException(413, f"a message may have {BODY_BYTES_MAX} bytes at most")
    return bytes(body)


if __name__ == "__main__":
    settings = SampleCrmSettings()
    uvicorn.run(
        create_app(settings.webhook_secret, SystemClock()),
        host=settings.host,
        port=settings.port,
        access_log=False,
    )
