"""Tables of decisions: customers, their retention tasks, task events, owners and policies."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from services.alerts.store.tables.base import TZ, metadata

OPEN = sa.text("status = 'open'")

customer = sa.Table(
    "customer",
    metadata,
    sa.Column("customer_id", sa.Text, primary_key=True),
    sa.Column("revision", sa.BigInteger, nullable=False, server_default="-1"),
    sa.Column("band", sa.Text),
    sa.Column("armed", sa.Boolean, nullable=False, server_default="true"),
    sa.Column("ramp_until", TZ),
    sa.Column("raised_at", TZ),
    sa.Column("episode", sa.Integer, nullable=False, server_default="0"),
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
    sa.Column("life", sa.Integer, nullable=False, server_default="0"),
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
    sa.Column("customer_id", sa.Text, primary_key=True),
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("cause", sa.Text, nullable=False),
    sa.Column("episode", sa.Integer, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("customer_name", sa.Text),
    sa.Column("owner_id", sa.Text),
    sa.Column("owner_name", sa.Text),
    sa.Column("language", sa.Text, nullable=False),
    sa.Column("time_zone", sa.Text),
    sa.Column("band", sa.Text, nullable=False),
    sa.Column("probability", sa.Float, nullable=False),
    sa.Column("horizon_days", sa.Integer, nullable=False),
    sa.Column("reasons", JSONB, nullable=False),
    sa.Column("days_silent", sa.Float),
    sa.Column("last_purchase_at", TZ),
    sa.Column("expected_value", sa.Float, nullable=False),
    sa.Column("value_at_risk", sa.Float, nullable=False),
    sa.Column("currency", sa.Text, nullable=False),
    sa.Column("revision", sa.BigInteger, nullable=False),
    sa.Column("model_version", sa.Text, nullable=False),
    sa.Column("opened_at", TZ, nullable=False),
    sa.Column("due_at", TZ, nullable=False),
    sa.Column("created_at", TZ, nullable=False),
    sa.Column("received_ms", sa.BigInteger, nullable=False),
    sa.Column("closed_at", TZ),
    sa.Column("close_reason", sa.Text),
    sa.Column("verdict", sa.Text),
    sa.Column("note", sa.Text),
    sa.Column("leaving_cause", sa.Text),
    sa.Column("kind", sa.Text, nullable=False, server_default="retention"),
    sa.Column("plan", JSONB, nullable=False, server_default='{"playbook": "any"}'),
    sa.Column("policy", sa.Text, nullable=False, server_default="default@0"),
    sa.Column("grade", sa.Text),
    sa.Column("tier", sa.Text),
    sa.Column("lifecycle", sa.Text),
    sa.Column("queue", sa.Text, nullable=False, server_default="owner"),
    sa.Column("grade_rank", sa.SmallInteger, nullable=False, server_default="2"),
    sa.Column("worth", sa.Float, nullable=False, server_default="0"),
    sa.Column("progress", sa.Text, nullable=False, server_default="new"),
    sa.Column("snoozed_until", TZ),
    sa.Column("respond_by", TZ),
    sa.Column("escalations", sa.SmallInteger, nullable=False, server_default="0"),
    sa.Column("escalated_to", sa.Text),
    sa.Column("expires_at", TZ),
    sa.Column("waiting", sa.Text),
    sa.Column("tell_at", TZ),
    sa.Column("allocated_at", TZ),
    sa.Column("changed_at", TZ),
    sa.Column("causes", sa.ARRAY(sa.Text), nullable=False, server_default=sa.text("'{}'")),
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
    sa.Column("customer_id", sa.Text, primary_key=True),
    sa.Column("number", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("task_id", sa.Text, nullable=False),
    sa.Column("at", TZ, nullable=False),
    sa.Column("recorded_at", TZ, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("detail", JSONB, nullable=False),
    sa.Index("ix_task_event_task", "task_id", "number"),
)
"""What people and timers did to a task, in order; a row is never changed."""

owner = sa.Table(
    "owner",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("name", sa.Text),
    sa.Column("time_zone", sa.Text),
    sa.Column("capacity_per_day", sa.Integer),
    sa.Column("manager_id", sa.Text),
    sa.Column("fallback_id", sa.Text),
    sa.Column("updated_at", TZ, nullable=False),
    sa.Column("updated_by", sa.Text, nullable=False),
)

policy = sa.Table(
    "policy",
    metadata,
    sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("document", JSONB, nullable=False),
    sa.Column("diff", sa.Text, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("note", sa.Text),
    sa.Column("created_at", TZ, nullable=False),
)
"""Every version of the policy; the highest is in force. A row is never changed: it is the audit."""

idempotency = sa.Table(
    "idempotency",
    metadata,
    sa.Column("holder", sa.Text, primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("digest", sa.LargeBinary, nullable=False),
    sa.Column("status", sa.SmallInteger, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.Column("created_at", TZ, nullable=False),
    sa.Index("ix_idempotency_created", "created_at"),
)
"""The answers to requests with an `Idempotency-Key`."""
