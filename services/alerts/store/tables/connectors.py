"""Tables of the CRM connectors: owners, access tokens, how far changes have been read."""

import sqlalchemy as sa

from services.alerts.store.tables.base import TZ, metadata

endpoint_owner = sa.Table(
    "endpoint_owner",
    metadata,
    sa.Column("endpoint_id", sa.Text, primary_key=True),
    sa.Column("owner_id", sa.Text, primary_key=True),
    sa.Column("remote_id", sa.Text, nullable=False),
)
"""Maps account owners to their ids in the CRM behind an endpoint."""

access_token = sa.Table(
    "access_token",
    metadata,
    sa.Column("endpoint_id", sa.Text, primary_key=True),
    sa.Column("version", sa.BigInteger),
    sa.Column("key_id", sa.Text),
    sa.Column("sealed", sa.LargeBinary),
    sa.Column("obtained_at", TZ),
    sa.Column("expires_at", TZ),
    sa.Column("turn_until", TZ),
    sa.Column("asked_at", sa.ARRAY(TZ), nullable=False, server_default=sa.text("'{}'")),
)
"""The access token that all processes share, encrypted, of one version of the endpoint.
`turn_until`: end of the lease of the process that requests a new one. `asked_at`: the newest
requests for tokens."""

member_pace = sa.Table(
    "member_pace",
    metadata,
    sa.Column("endpoint_id", sa.Text, primary_key=True),
    sa.Column("member", sa.Text, primary_key=True),
    sa.Column("tokens", sa.Float, nullable=False),
    sa.Column("tokens_at", TZ, nullable=False),
)
"""The rate limit of each member of a CRM: a bucket for each (`delivery.core.token_bucket`)."""

look = sa.Table(
    "look",
    metadata,
    sa.Column("endpoint_id", sa.Text, primary_key=True),
    sa.Column("since", TZ, nullable=False),
    sa.Column("next_at", TZ, nullable=False),
    sa.Column("watched_until", TZ),
)
"""How far the changes of a CRM have been read, when to poll next, and until when the CRM notifies
Ebbwatch of changes by itself."""
