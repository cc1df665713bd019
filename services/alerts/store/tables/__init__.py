"""Alerts' tables. Everything of a customer is keyed by `customer_id`, so that it distributes."""

from services.alerts.store.tables.base import SCHEMA, api_token, metadata, outbox, partition
from services.alerts.store.tables.deliveries import attempt, delivery, endpoint
from services.alerts.store.tables.tasks import customer, task

__all__ = [
    "SCHEMA",
    "api_token",
    "attempt",
    "customer",
    "delivery",
    "endpoint",
    "metadata",
    "outbox",
    "partition",
    "task",
]
