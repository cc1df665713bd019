"""Alerts' tables. Rows of a customer have `customer_id` in their key, so that they distribute."""

from services.alerts.store.tables.base import (
    SCHEMA,
    api_token,
    audit,
    erasure,
    erasure_key,
    items_begun,
    metadata,
    outbox,
    partition,
    suspect,
    unfinished,
)
from services.alerts.store.tables.connectors import access_token, endpoint_owner, look, member_pace
from services.alerts.store.tables.deliveries import (
    attempt,
    callback,
    delivery,
    endpoint,
    endpoint_secret,
    remote_task,
)
from services.alerts.store.tables.effects import (
    assessment,
    purchase,
    save_rate,
    segment_entry,
    trial,
)
from services.alerts.store.tables.messages import (
    consent,
    customer_message,
    feedback,
    subscription,
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
    "access_token",
    "api_token",
    "assessment",
    "attempt",
    "audit",
    "callback",
    "consent",
    "customer",
    "customer_message",
    "delivery",
    "endpoint",
    "endpoint_owner",
    "endpoint_secret",
    "erasure",
    "erasure_key",
    "feedback",
    "idempotency",
    "items_begun",
    "look",
    "member_pace",
    "metadata",
    "outbox",
    "owner",
    "partition",
    "policy",
    "purchase",
    "remote_task",
    "save_rate",
    "segment_entry",
    "subscription",
    "suspect",
    "task",
    "task_event",
    "trial",
    "unfinished",
]
