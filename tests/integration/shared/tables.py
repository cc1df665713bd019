"""The tables that every service has, in a schema of the tests, and one table for effects."""

import sqlalchemy as sa

from shared.http.access import token_table
from shared.postgres.ledger import partition_table
from shared.postgres.outbox import outbox_table
from shared.postgres.suspects import item_tables
from shared.postgres.unfinished import unfinished_table

SCHEMA = "shared_test"
metadata = sa.MetaData(schema=SCHEMA)
partition = partition_table(metadata)
outbox = outbox_table(metadata)
unfinished = unfinished_table(metadata)
items_begun, suspect = item_tables(metadata)
token = token_table(metadata)
effect = sa.Table("effect", metadata, sa.Column("id", sa.Text, primary_key=True))
"""A table for the effects of a test's transactions."""
