"""Deliveries as the input of connector tests."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import msgspec

from services.alerts.connectors.core.notice import Notice, read_notice
from services.alerts.core import webhook_payload
from services.alerts.core.policy import Closed, OpenTask
from services.alerts.core.task import Task, close
from services.alerts.delivery.ports import (
    Leased,
)
from shared.contracts.events import Owner, Profile
from tests.unit.alerts.samples import DAY_0, day, raised_task

PROFILE = Profile(name="上海示例", language="zh-CN", owner=Owner(id="o-1", name="Ann"))


def task(profile: Profile = PROFILE, **changes: Any) -> Task:
    """Return an open task in Chinese, owned by Ann."""
    return msgspec.structs.replace(raised_task(profile), **changes)


def closed(opened: Task, reason: Any = "came_back") -> Task:
    """Return the task once it has ended."""
    return close(opened, Closed(OpenTask(opened.id, opened.cause, DAY_0), day(1), reason))


def notice(of: Task) -> Notice:
    """Return a connector's notice of the task's newest change."""
    return read_notice(webhook_payload.body(of))


def leased(
    of: Task, endpoint_id: str = "crm", attempts: int = 0, *, uncertain: bool = False
) -> Leased:
    """Return a delivery of the task's newest change."""
    return Leased(
        customer_id=of.customer_id,
        id=webhook_payload.delivery_id(of, endpoint_id),
        endpoint_id=endpoint_id,
        task_id=of.id,
        kind=webhook_payload.kind_of(of),
        body=webhook_payload.body(of),
        attempts=attempts,
        uncertain=uncertain,
        remote_id=None,
        token=UUID(int=1),
        until=DAY_0 + timedelta(minutes=1),
        received_ms=0,
    )
