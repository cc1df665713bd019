"""Statements that every service has, on the tables of alerts."""

from typing import Final

from services.alerts.store.tables import SCHEMA
from shared.postgres.erasures import Erasures
from shared.postgres.outbox import Outbox

ERASURES: Final = Erasures(SCHEMA)
OUTBOX: Final = Outbox(SCHEMA)
