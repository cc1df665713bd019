"""Statements that every service has, on the tables of alerts."""

from typing import Final

from services.alerts.store.tables import SCHEMA
from shared.postgres.erasures import Erasures
from shared.postgres.ledger import TopicPartition
from shared.postgres.outbox import Outbox

ERASURES: Final = Erasures(SCHEMA)
OUTBOX: Final = Outbox(SCHEMA)

OUTSIDE_TOPICS: Final[TopicPartition] = ("alerts.verdicts", 0)
"""Not a topic: under it the outbox keeps messages that no consumed record caused (owners, timers,
wishes)."""
