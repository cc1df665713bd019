"""Tables of decisions: customers, their retention tasks, task events, owners and policies."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from services.alerts.store.tables.base import TZ, metadata
from shared.postgres.columns import key, required

OPEN = sa.text("status = 'open'")

customer = sa.Table(
    "customer",
    metadata,
    key("customer_id"),
    required("revision", sa.BigInteger, server_default="-1"),
    sa.Column("band", sa.Text),
    required("armed", sa.Boolean, server_default="true"),
    sa.Column("ramp_until", TZ),
    sa.Column("raised_at", TZ),
    required("episode", sa.Integer, server_default="0"),
    sa.Column("purchased_at", TZ),
    sa.Column("profile", JSONB),
    sa.Column("profile_at", TZ),
    sa.Column("profile_event_id", sa.Text),
    sa.Column("probability", sa.Float),
    sa.Column("recent", sa.ARRAY(TZ)),
    sa.Column("win_back_at", TZ),
    sa.Column("grade", sa.Text),
    sa.Column("warned", JSONB),
    sa.Column("value_at_risk", sa.Float),
    sa.Column("currency", sa.Text),
    sa.Column("horizon_days", sa.Integer),
    sa.Column("leaving_cause", sa.Text),
    sa.Column("leaving_at", TZ),
    sa.Column("graded_at", TZ),
    # The customer that this id is part of; NULL: one of its own.
    sa.Column("part_of", sa.Text),
    # True: part of it as a contact of an account.
    sa.Column("contact", sa.Boolean),
    # Of a customer with several ids: the profile that came with the primary id alone.
    sa.Column("own", JSONB),
    required("life", sa.Integer, server_default="0"),
    sa.Index(
        "ix_customer_birthday",
        sa.text("substr(profile ->> 'birthday', 6)"),
        postgresql_where=sa.text("profile ? 'birthday'"),
    ),
    sa.Index("ix_customer_part_of", "part_of", postgresql_where=sa.text("part_of IS NOT NULL")),
    # Updated by every purchase and assessment: room for HOT updates on the page.
    postgresql_with={"fillfactor": 70},
)
"""The state of a customer; its row is the lock that orders all work on the customer. `armed`,
`raised_at` and `win_back_at` are unused: `warned` replaces them, by cause."""

task = sa.Table(
    "task",
    metadata,
    key("customer_id"),
    key("id"),
    required("cause"),
    required("episode", sa.Integer),
    required("status"),
    required("version", sa.Integer),
    sa.Column("customer_name", sa.Text),
    sa.Column("owner_id", sa.Text),
    sa.Column("owner_name", sa.Text),
    required("language"),
    sa.Column("time_zone", sa.Text),
    required("band"),
    required("probability", sa.Float),
    required("horizon_days", sa.Integer),
    required("reasons", JSONB),
    sa.Column("days_silent", sa.Float),
    sa.Column("last_purchase_at", TZ),
    required("expected_value", sa.Float),
    required("value_at_risk", sa.Float),
    required("currency"),
    required("revision", sa.BigInteger),
    required("model_version"),
    required("opened_at", TZ),
    required("due_at", TZ),
    required("created_at", TZ),
    required("received_ms", sa.BigInteger),
    sa.Column("closed_at", TZ),
    sa.Column("close_reason", sa.Text),
    sa.Column("verdict", sa.Text),
    sa.Column("note", sa.Text),
    sa.Column("leaving_cause", sa.Text),
    required("kind", sa.Text, server_default="retention"),
    required("plan", JSONB, server_default='{"playbook": "any"}'),
    required("policy", sa.Text, server_default="default@0"),
    sa.Column("grade", sa.Text),
    sa.Column("tier", sa.Text),
    sa.Column("lifecycle", sa.Text),
    required("queue", sa.Text, server_default="owner"),
    required("grade_rank", sa.SmallInteger, server_default="2"),
    required("worth", sa.Float, server_default="0"),
    required("progress", sa.Text, server_default="new"),
    sa.Column("snoozed_until", TZ),
    sa.Column("respond_by", TZ),
    required("escalations", sa.SmallInteger, server_default="0"),
    sa.Column("escalated_to", sa.Text),
    sa.Column("expires_at", TZ),
    sa.Column("waiting", sa.Text),
    sa.Column("tell_at", TZ),
    sa.Column("allocated_at", TZ),
    sa.Column("changed_at", TZ),
    required("causes", sa.ARRAY(sa.Text), server_default=sa.text("'{}'")),
    sa.Column("suspected_leaving_cause", sa.Text),
    sa.Column("lapse_probability", sa.Float),
    sa.Column("lapse_days", sa.Float),
    # The id that it was raised for, where that became part of this customer.
    sa.Column("came_with", sa.Text),
    sa.Index(
        "uq_task_open",
        "customer_id",
        "cause",
        unique=True,
        postgresql_where=OPEN,
    ),
    sa.Index("ix_task_id", "id"),
    sa.Index("ix_task_newest", "opened_at", "id"),
    sa.Index("ix_task_owner", "owner_id", "opened_at", "id"),
    sa.Index(
        "ix_task_queue",
        "queue",
        "owner_id",
        "grade_rank",
        sa.text("worth DESC"),
        "id",
        postgresql_where=OPEN,
    ),
    sa.Index(
        "ix_task_worth",
        "queue",
        "grade_rank",
        sa.text("worth DESC"),
        "id",
        postgresql_where=OPEN,
    ),
    sa.Index("ix_task_respond_by", "respond_by", postgresql_where=OPEN),
    sa.Index("ix_task_expires", "expires_at", postgresql_where=OPEN),
    sa.Index(
        "ix_task_waiting",
        "waiting",
        "tell_at",
        postgresql_where=sa.text("status = 'open' AND waiting IS NOT NULL"),
    ),
)

task_event = sa.Table(
    "task_event",
    metadata,
    key("customer_id"),
    key("number", sa.BigInteger, sa.Identity(always=True)),
    required("task_id"),
    required("at", TZ),
    required("recorded_at", TZ),
    required("actor"),
    required("kind"),
    required("detail", JSONB),
    sa.Index("ix_task_event_task", "task_id", "number"),
)
"""What people and timers did to a task, in order; a row is never changed."""

owner = sa.Table(
    "owner",
    metadata,
    key("id"),
    sa.Column("name", sa.Text),
    sa.Column("time_zone", sa.Text),
    sa.Column("capacity_per_day", sa.Integer),
    sa.Column("manager_id", sa.Text),
    sa.Column("fallback_id", sa.Text),
    required("updated_at", TZ),
    required("updated_by"),
)

policy = sa.Table(
    "policy",
    metadata,
    key("version", sa.Integer, autoincrement=False),
    required("document", JSONB),
    required("diff"),
    required("actor"),
    sa.Column("note", sa.Text),
    required("created_at", TZ),
)
"""Every version of the policy; the highest is in force. A row is never changed: it is the audit."""

idempotency = sa.Table(
    "idempotency",
    metadata,
    key("holder"),
    key("key"),
    required("digest", sa.LargeBinary),
    required("status", sa.SmallInteger),
    required("body", sa.LargeBinary),
    required("created_at", TZ),
    sa.Index("ix_idempotency_created", "created_at"),
)
"""The answers to requests with an `Idempotency-Key`."""
