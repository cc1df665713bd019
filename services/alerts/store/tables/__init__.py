"""Alerts' tables. Everything of a customer is keyed by `customer_id`, so that it distributes."""

from services.alerts.store.tables.base import SCHEMA, api_token, metadata, outbox, partition
from services.alerts.store.tables.deliveries import attempt, delivery, endpoint
from services.alerts.store.tables.effects import (
    assessment,
    purchase,
    save_rate,
    segment_entry,
    trial,
)
from services.alerts.store.tables.tasks import (
    customer,
    idempotency,
    owner,
    policy,
    task,
    task_event,
)

__all__ = [
    "SCHEMA",
    "api_token",
    "assessment",
    "attempt",
    "customer",
    "delivery",
    "endpoint",
    "idempotency",
    "metadata",
    "outbox",
    "owner",
    "partition",
    "policy",
    "purchase",
    "save_rate",
    "segment_entry",
    "task",
    "task_event",
    "trial",
]
