"""Failure test 11: our signatures, as they arrive over HTTP, under third-party verifiers.

These are the libraries of Standard Webhooks and of Svix, in Python and in Node.
"""

import asyncio
import base64
import os
import re
import shutil
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import standardwebhooks.webhooks
import svix.webhooks
from pydantic import SecretStr
from standardwebhooks.exceptions import WebhookVerificationError

from services.alerts.core.webhook_payload import body
from services.alerts.delivery.core.endpoint import SIGNING, Endpoint, Secret
from services.alerts.delivery.core.signature import asymmetric, verify
from services.alerts.delivery.http_client import Http
from services.alerts.delivery.ports import (
    Leased,
)
from services.alerts.delivery.webhook import Webhook
from shared.kernel.errors import Invalid
from shared.runtime.clock import SystemClock
from tests.consumers import running
from tests.integration.alerts.receiver import SECRET, Receiver, Request
from tests.unit.alerts.delivery.test_signature import OTHER
from tests.unit.alerts.samples import raised_task

GUIDE = Path("docs/delivery.md").read_text(encoding="utf-8")
TOOLS = ("base64", "curl", "date", "od", "openssl", "tr")
"""The programs that the shell lines of the guide use."""
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
PRIVATE = asymmetric(bytes(range(32)))
BODY = body(raised_task()).replace(b'"c-1"', '"老客户 上海"'.encode())


@dataclass(frozen=True, slots=True)
class Case:
    """A request as it arrived, perhaps changed on the way, and a secret of the receiver."""

    name: str
    request: Request
    secret: str
    accepted: bool

    def changed(self, name: str, **headers: str) -> "Case":
        """Return the same case with other headers, which must be refused."""
        request = replace(self.request, headers=self.request.headers | headers)
        return replace(self, name=name, request=request, accepted=False)


async def sent(receiver: Receiver, at: datetime, *secrets: str) -> Request:
    """Return what arrives when our connector sends at a time."""
    endpoint = Endpoint(
        id="crm",
        url=receiver.url,
        secrets=tuple(Secret(SIGNING, SecretStr(each)) for each in secrets),
    )
    message = Leased(
        customer_id="c-1", id="msg_1", endpoint_id="crm", task_id="rt_1",
        kind="retention_task.opened", body=BODY, attempts=0, uncertain=False, remote_id=None,
        token=UUID(int=0), until=at, received_ms=0,
    )  # fmt: skip
    allowed = [ip_network("127.0.0.0/8")]
    async with Http(timeout_s=5, allowed=allowed, clock=SystemClock()) as http:
        assert (await Webhook(endpoint, http).send(message, at)).result == "ok"
    return receiver.requests[-1]


async def cases(receiver: Receiver) -> list[Case]:
    """Return all cases that a verifier must accept or refuse."""
    good = Case("fresh", await sent(receiver, NOW, SECRET), SECRET, accepted=True)
    both = await sent(receiver, NOW, OTHER, SECRET)
    mixed = await sent(receiver, NOW, PRIVATE, SECRET)
    found = [
        good,
        replace(good, name="another secret", secret=OTHER, accepted=False),
        replace(good, name="tampered", accepted=False,
                request=replace(good.request, body=BODY.replace(b"high", b"low!"))),
        good.changed("another id", **{"webhook-id": "msg_2"}),
        good.changed("another time", **{"webhook-timestamp": str(int(NOW.timestamp()) + 1)}),
        Case("rotated: the new secret", both, OTHER, accepted=True),
        Case("rotated: the old secret", both, SECRET, accepted=True),
        Case("v1a beside v1", mixed, SECRET, accepted=True),
    ]  # fmt: skip
    for age, accepted in ((299, True), (-299, True), (301, False), (-301, False)):
        request = await sent(receiver, NOW - timedelta(seconds=age), SECRET)
        found.append(Case(f"{age} s old", request, SECRET, accepted))
    return found


@pytest.mark.parametrize("library", [standardwebhooks.webhooks, svix.webhooks])
async def test_11_in_python(
    receiver: Receiver, library: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Clock(datetime):
        """A clock that stands at NOW."""

        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
            return NOW

    found = await cases(receiver)
    monkeypatch.setattr(standardwebhooks.webhooks, "datetime", Clock)
    for case in found:
        webhook = library.Webhook(case.secret)  # type: ignore[attr-defined]
        try:
            webhook.verify(case.request.body, case.request.headers)
            accepted = True
        except WebhookVerificationError:
            accepted = False
        assert accepted == case.accepted, case.name


async def test_11_in_node(receiver: Receiver) -> None:
    found = await cases(receiver)
    reported = {
        "now": int(NOW.timestamp()),
        "cases": [
            {
                "secret": case.secret,
                "headers": case.request.headers,
                "body": base64.b64encode(case.request.body).decode(),
            }
            for case in found
        ],
    }
    expected = {case.name: case.accepted for case in found}
    judged = await running.node("verify_webhook.js", given=reported)
    for library in ("standardwebhooks", "svix"):
        by_name = {case.name: ok for case, ok in zip(found, judged[library], strict=True)}
        assert by_name == expected, library


async def test_11_ours_agrees_with_theirs(receiver: Receiver) -> None:
    """Our own verifier of callbacks applies the same rules, v1a included."""
    found = await cases(receiver)
    found.append(Case("v1a", await sent(receiver, NOW, PRIVATE), PRIVATE, accepted=True))
    for case in found:
        try:
            verify(case.request.headers, case.request.body, [case.secret], NOW)
            accepted = True
        except Invalid:
            accepted = False
        assert accepted == case.accepted, case.name


async def test_the_examples_of_the_guide_work(receiver: Receiver) -> None:
    """Runs the Python and the curl of `docs/delivery.md` as they are printed there."""
    _, own = re.findall(r"```python\n(.*?)```", GUIDE, re.S)
    (by_hand, *_) = re.findall(r"```bash\n(.*?)```", GUIDE, re.S)
    if absent := [tool for tool in TOOLS if shutil.which(tool) is None]:
        running.missing(f"install {', '.join(absent)}")
    scope: dict[str, Any] = {}
    exec(own, scope)  # noqa: S102 (of our own guide)
    process = await asyncio.create_subprocess_exec(
        *("bash", "-euc", by_hand), env={**os.environ, "URL": receiver.url, "SECRET": SECRET}
    )
    assert await process.wait() == 0
    (request,) = receiver.requests
    assert standardwebhooks.webhooks.Webhook(SECRET).verify(request.body, request.headers)
    assert scope["verify"](request.body, request.headers, SECRET)
    assert not scope["verify"](request.body + b" ", request.headers, SECRET)
    assert not scope["verify"](request.body, request.headers, OTHER)
