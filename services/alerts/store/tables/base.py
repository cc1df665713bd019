"""The schema of alerts, and the tables that every service has."""

import sqlalchemy as sa

from shared.http.access import token_table
from shared.postgres.audit import audit_table
from shared.postgres.erasures import erasure_tables
from shared.postgres.ledger import partition_table
from shared.postgres.outbox import outbox_table
from shared.postgres.suspects import item_tables
from shared.postgres.unfinished import unfinished_table

SCHEMA = "alerts"
metadata = sa.MetaData(schema=SCHEMA)
TZ = sa.DateTime(timezone=True)

partition = partition_table(metadata)
unfinished = unfinished_table(metadata)
items_begun, suspect = item_tables(metadata)
outbox = outbox_table(metadata)
api_token = token_table(metadata)
erasure, erasure_key = erasure_tables(metadata)
audit = audit_table(metadata)
