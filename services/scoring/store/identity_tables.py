"""Tables of identity: which ids are one customer, and why (docs/identity.md)."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from services.scoring.store.tables import metadata

TZ = sa.DateTime(timezone=True)

NO_HOME = -1
"""`customer_state.partition` of an id that is part of another customer: no batch may write it."""

member = sa.Table(
    "member",
    metadata,
    sa.Column("customer_id", sa.Text, primary_key=True),
    sa.Column("primary_id", sa.Text, nullable=False, index=True),
    sa.Column("account", sa.Text),
    sa.Column("since", TZ, nullable=False),
    sa.Column("feature_set", sa.SmallInteger, nullable=False),
    sa.Column("own_state", sa.LargeBinary, nullable=False),
    sa.Column("frozen", JSONB, nullable=False),
)
"""Ids of customers with several; of each customer one row has `primary_id = customer_id`.

`own_state`: what came with this id alone, kept current, so that a merge can be undone. `account`:
set for a contact. `frozen`: rows of the customer that this id was, put back when it is one again.
"""

member_key = sa.Table(
    "member_key",
    metadata,
    sa.Column("customer_id", sa.Text, primary_key=True),
    sa.Column("source", sa.Text, primary_key=True),
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("content_hash", sa.LargeBinary, nullable=False),
    sa.Column("recorded_on", sa.Date, nullable=False),
)
"""Keys of events that this id sent after another id of the customer had: the customer counts them
once, with the key of the other; the id's own state counts them too."""

identity_link = sa.Table(
    "identity_link",
    metadata,
    sa.Column("a", sa.Text, primary_key=True),
    sa.Column("b", sa.Text, primary_key=True),
)
"""Links in force, `a < b`: a customer is what they connect."""

identity_statement = sa.Table(
    "identity_statement",
    metadata,
    sa.Column("source", sa.Text, primary_key=True),
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("subject", sa.Text, nullable=False),
    sa.Column("ids", sa.ARRAY(sa.Text), nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("at", TZ, nullable=False),
    sa.Column("recorded_at", TZ, nullable=False),
    sa.Column("refused", sa.Text),
    sa.Column("note", sa.Text),
    sa.Index("ix_identity_statement_ids", "ids", postgresql_using="gin"),
)
"""Statements about ids that were decided on, each once by (source, id); `refused`: why not."""
