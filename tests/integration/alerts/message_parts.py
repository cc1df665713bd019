"""Messages to customers: the parts that send them, and the events that a test sends."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import msgspec
from sqlalchemy.ext.asyncio import AsyncEngine

from services.alerts.core.policy_document import Policy, read
from services.alerts.delivery.core.signature import verify
from services.alerts.delivery.store.encryption import Encryption
from services.alerts.delivery.store.endpoints import Endpoints
from services.alerts.handlers.decide_messages import DecideMessages
from services.alerts.handlers.record_task_changes import RecordTaskChanges
from services.alerts.handlers.send_customer_messages import SendCustomerMessages
from services.alerts.handlers.take_message_result import TakeMessageResult
from services.alerts.store.business_clock import BusinessClock
from services.alerts.store.tables import SCHEMA
from shared.contracts import events
from shared.contracts.activity import Activity, ActivityData
from shared.contracts.customer_message import SEND
from shared.contracts.events import Profile
from shared.postgres.suspects import Suspects
from shared.runtime.isolation import ItemIsolation
from tests.fakes.clock import SetClock
from tests.integration.alerts.doubles import SetPolicy
from tests.integration.alerts.receiver import SECRET, Request

VAULT = Encryption([bytes(range(32))])
MESSAGES = "SELECT status, reason FROM alerts.customer_message ORDER BY caused_at, seq"
WILLING = Profile(name="Wang", language="zh-CN", consent={"email": True})


def sending_policy(**changes: Any) -> Policy:
    """Return a policy that sends an e-mail to every warned customer."""
    rule = {
        "endpoint": "mailer",
        "channel": "email",
        "subject": {"en": "We miss you", "zh-CN": "想念您"},
        "text": {"en": "Come back", "zh-CN": "期待您再次光临"},
    }
    holdout = changes.pop("holdout", {"share": 0.0})
    book = {"id": "reminder", "service": "self_service", "send": rule | changes}
    return read({"name": "test", "cooldown_days": 0, "holdout": holdout, "playbooks": [book]})


def event(kind: str, data: ActivityData, at: datetime, name: str, **more: Any) -> Activity:
    """Return an event of customer c-1."""
    return Activity(specversion="1.0", id=name, source=more.pop("source", "/t"), type=kind, time=at,
                    subject=more.pop("subject", "c-1"), data=data, **more)  # fmt: skip


def profile(seen: Profile, at: datetime, **more: Any) -> Activity:
    """Return a profile event."""
    return event(events.PROFILE, ActivityData(profile=seen), at, f"p{at.isoformat()}", **more)


def interaction(kind: str, channel: str | None, at: datetime, **more: Any) -> Activity:
    """Return an interaction."""
    data = ActivityData(kind=kind, channel=channel)
    return event(events.INTERACTION, data, at, f"{kind}{at.isoformat()}", **more)


def sent(request: Request) -> dict[str, Any]:
    """Return the message of a request after verifying its signature."""
    sent_at = datetime.fromtimestamp(int(request.headers["webhook-timestamp"]), UTC)
    verify(request.headers, request.body, [SECRET], sent_at)
    message = msgspec.json.decode(request.body)
    assert message["type"] == SEND
    found: dict[str, Any] = message["data"]["message"]
    assert found["id"] == request.headers["webhook-id"]
    return found


def customer_messages(engine: AsyncEngine, clock: SetClock, policy: Policy) -> SendCustomerMessages:
    """Return the step of the timers that sends messages to customers."""
    return SendCustomerMessages(
        engine=engine,
        decide=DecideMessages(
            policies=SetPolicy(policy),
        ),
        business_clock=BusinessClock(clock, replay=False),
        clock=clock,
        isolation=ItemIsolation(Suspects(engine, SCHEMA), clock, lambda _: None),
        deliveries_queued=asyncio.Event(),
    )


def take_result(engine: AsyncEngine, clock: SetClock) -> TakeMessageResult:
    """Return the handler of what providers report."""
    return TakeMessageResult(
        engine=engine,
        recorder=RecordTaskChanges(Endpoints(VAULT, {}), "treatment"),
        deliveries_queued=asyncio.Event(),
        business_clock=BusinessClock(clock, replay=False),
        clock=clock,
    )
