"""Tables of the CRM connectors: owners, access tokens, how far changes have been read."""

import sqlalchemy as sa

from services.alerts.store.tables.base import TZ, metadata
from shared.postgres.columns import key, required

endpoint_owner = sa.Table(
    "endpoint_owner",
    metadata,
    key("endpoint_id"),
    key("owner_id"),
    required("remote_id"),
)
"""Maps account owners to their ids in the CRM behind an endpoint."""

access_token = sa.Table(
    "access_token",
    metadata,
    key("endpoint_id"),
    sa.Column("version", sa.BigInteger),
    sa.Column("key_id", sa.Text),
    sa.Column("sealed", sa.LargeBinary),
    sa.Column("obtained_at", TZ),
    sa.Column("expires_at", TZ),
    sa.Column("turn_until", TZ),
    required("asked_at", sa.ARRAY(TZ), server_default=sa.text("'{}'")),
)
"""The access token that all processes share, encrypted, of one version of the endpoint.
`turn_until`: end of the lease of the process that requests a new one. `asked_at`: the newest
requests for tokens."""

member_pace = sa.Table(
    "member_pace",
    metadata,
    key("endpoint_id"),
    key("member"),
    required("tokens", sa.Float),
    required("tokens_at", TZ),
)
"""The rate limit of each member of a CRM: a bucket for each (`delivery.core.token_bucket`)."""

look = sa.Table(
    "look",
    metadata,
    key("endpoint_id"),
    required("since", TZ),
    required("next_at", TZ),
    sa.Column("watched_until", TZ),
)
"""How far the changes of a CRM have been read, when to poll next, and until when the CRM notifies
Ebbwatch of changes by itself."""
