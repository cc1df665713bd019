"""Tables of what CRM connectors keep: owners, access tokens, how far changes have been read."""

import sqlalchemy as sa

from services.alerts.store.tables.base import TZ, metadata

endpoint_owner = sa.Table(
    "endpoint_owner",
    metadata,
    sa.Column("endpoint_id", sa.Text, primary_key=True),
    sa.Column("owner_id", sa.Text, primary_key=True),
    sa.Column("remote_id", sa.Text, nullable=False),
)
"""Who each account owner is in the CRM behind an endpoint."""

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
"""The access token that all processes share, sealed, of one version of the endpoint.
`turn_until`: a process is asking for a new one. `asked_at`: the newest requests for tokens."""

member_pace = sa.Table(
    "member_pace",
    metadata,
    sa.Column("endpoint_id", sa.Text, primary_key=True),
    sa.Column("member", sa.Text, primary_key=True),
    sa.Column("tokens", sa.Float, nullable=False),
    sa.Column("tokens_at", TZ, nullable=False),
)
"""What a member of a CRM may be sent: a bucket for each (`delivery.core.token_bucket`)."""

look = sa.Table(
    "look",
    metadata,
    sa.Column("endpoint_id", sa.Text, primary_key=True),
    sa.Column("since", TZ, nullable=False),
    sa.Column("next_at", TZ, nullable=False),
    sa.Column("watched_until", TZ),
)
"""How far the changes of a CRM have been read, when to look again, and until when it tells us of
changes by itself."""
