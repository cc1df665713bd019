"""docs/customer-messages.md, end to end: its policy, its provider, on the real service."""

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from services.alerts.core.holdout import drawn
from shared.contracts import events
from shared.contracts.activity import ActivityData
from shared.contracts.customer_message import SEND
from shared.contracts.events import Profile
from shared.contracts.risk import Classification, RiskAssessed
from shared.kafka.producer import Producer
from tests.integration.alerts.receiver import SECRET, Receiver, receiving
from tests.integration.alerts.running import ServiceEnvironment, alerts
from tests.unit.alerts.samples import assessed, sign

pytestmark = pytest.mark.stack

GUIDE = Path("docs/customer-messages.md").read_text(encoding="utf-8")
NAMES = [f"c-{n}" for n in range(40)]
LEFT_ALONE = next(name for name in NAMES if drawn("default", name, 0.1))
WRITTEN_TO = next(name for name in NAMES if not drawn("default", name, 0.1))
LOW = Classification(tier="low", grade="potential")


def block(language: str) -> str:
    """Return the guide's block of code in a language."""
    (found,) = re.findall(rf"(?ms)^( *)```{language}\n(.*?)^ *```", GUIDE)
    return re.sub(f"(?m)^{found[0]}", "", found[1])


def policy_at(now: datetime) -> str:
    """Return the guide's policy, with quiet hours that are far from `now`."""
    document = yaml.safe_load(block("yaml"))
    send = document["playbooks"][0]["send"]
    assert (send["quiet_from"], send["quiet_until"]) == ("20:00", "09:00")
    send["quiet_from"] = f"{now + timedelta(hours=11):%H:%M}"
    send["quiet_until"] = f"{now + timedelta(hours=13):%H:%M}"
    return yaml.safe_dump(document, allow_unicode=True)


def risk(customer: str, revision: int, at: datetime, **changes: Any) -> RiskAssessed:
    """Return an assessment of a customer of low value."""
    values: dict[str, Any] = {"last_purchase_at": at - timedelta(days=20), "standing": LOW}
    return assessed(revision, 0, customer_id=customer, assessed_at=at, **values | changes)


def environment(place: ServiceEnvironment, mailer: Receiver, policy: Path) -> dict[str, str]:
    """Return the settings of a service with a CRM and a provider."""
    endpoints = [
        {"id": "crm", "url": place.receiver.url, "secrets": [SECRET],
         "event_types": ["retention_task.opened"]},
        {"id": "mailer", "url": mailer.url, "secrets": [SECRET], "event_types": [SEND]},
    ]  # fmt: skip
    return {
        "EBBWATCH_ALERTS_ENDPOINTS": json.dumps(endpoints),
        "EBBWATCH_ALERTS_POLICY_FILE": str(policy),
    }


async def report(
    client: httpx.AsyncClient, provider: dict[str, Any], message_id: str
) -> list[tuple[str, bool]]:
    """Report two results as the guide's provider does; return the answers."""
    answers = []
    for result in ("accepted", "unsubscribed"):
        body, headers = provider["report"](message_id, result, SECRET)
        answer = await client.post("/v1/callbacks/mailer", content=body, headers=headers)
        assert answer.json()["message_id"] == message_id
        answers.append((answer.json()["outcome"], answer.json()["unsubscribed"]))
    forged = headers | {"webhook-signature": "v1,AAAA"}
    answer = await client.post("/v1/callbacks/mailer", content=body, headers=forged)
    assert answer.status_code == 401
    answer = await client.post("/v1/callbacks/crm", content=body, headers=headers)
    assert answer.status_code == 404, "the CRM was sent no such message"
    return answers


async def check_lists(client: httpx.AsyncClient) -> None:
    """Check what people read once a message was sent and a later one suppressed."""
    (suggestion,) = (await client.get("/v1/feedback?kind=suggestion")).json()["items"]
    assert (suggestion["text"], suggestion["grade"]) == ("请周日营业", "potential")
    listed = (await client.get("/v1/messages")).json()["items"]
    outcomes = [(m["status"], m["outcome"]) for m in listed]
    assert outcomes == [("suppressed", None), ("handed", "unsubscribed")]
    (away,) = (await client.get("/v1/unsubscriptions")).json()["items"]
    assert (away["channel"], away["reported_by"]) == ("email", "endpoint:mailer")


async def check_commands(place: ServiceEnvironment) -> None:
    """Check that operators see the same."""
    assert "请周日营业" in await place.command("feedback", "list", "--kind", "suggestion")
    assert "unsubscribed" in await place.command("messages", "list", "--status", "suppressed")
    assert WRITTEN_TO in await place.command("messages", "unsubscriptions")


async def test_the_guide_from_a_suggestion_to_an_unsubscription(
    place: ServiceEnvironment, upstream: Producer, receiver: Receiver, tmp_path: Path
) -> None:
    now = datetime.now(UTC)
    provider: dict[str, Any] = {}
    exec(block("python"), provider)  # noqa: S102 (the guide's own example)
    policy = tmp_path / "policy.yaml"
    policy.write_text(policy_at(now), encoding="utf-8")
    token = await place.command("tokens", "create", "--name", "t", "--scope", "admin")
    rights = {"authorization": f"Bearer {token.strip()}"}
    before, soon = now - timedelta(days=50), now + timedelta(seconds=1)
    willing = Profile(name="王芳", language="zh-CN", consent={"email": True})
    wish = ActivityData(kind="suggestion", text="请周日营业")
    async with (
        receiving() as mailer,
        alerts(place, **environment(place, mailer, policy)) as service,
        httpx.AsyncClient(base_url=service.url, headers=rights) as client,
    ):
        profiles = [place.profile(c, before, willing) for c in (WRITTEN_TO, LEFT_ALONE)]
        await upstream.send([*profiles, place.event(WRITTEN_TO, events.FEEDBACK, before, wish)])
        await place.consumed()
        await upstream.send([place.risk(risk(c, 1, now)) for c in (LEFT_ALONE, WRITTEN_TO)])
        (request,) = await mailer.got(1)
        known: set[str] = set()
        message = provider["receive"](request.body, request.headers, SECRET, known)
        assert message["customer"] == {"id": WRITTEN_TO, "name": "王芳"}
        assert (message["subject"], message["language"]) == ("好久不见", "zh-CN")
        assert provider["receive"](request.body, request.headers, SECRET, known) is None
        answers = await report(client, provider, message["id"])
        assert answers == [("accepted", False), ("unsubscribed", True)]
        await upstream.send([place.purchase(WRITTEN_TO, soon)])
        await place.consumed()
        complaint = sign("complaint_open", complaints_open=1.0)
        await upstream.send([place.risk(risk(WRITTEN_TO, 2, soon, signs=[complaint]))])
        suppressed = "SELECT reason FROM alerts.customer_message WHERE status = 'suppressed'"
        await place.until(suppressed, "unsubscribed")
        await check_lists(client)
        tasks = {request.task["customer"]["id"] for request in await receiver.got(2)}
        assert tasks == {WRITTEN_TO}
        assert len(mailer.requests) == 1
        assert await service.stop() == 0
    arms = await place.rows("SELECT DISTINCT customer_id, arm FROM alerts.trial ORDER BY arm")
    assert [(row["customer_id"], row["arm"]) for row in arms] == [
        (LEFT_ALONE, "held_out"), (WRITTEN_TO, "treated")
    ]  # fmt: skip
    await check_commands(place)
