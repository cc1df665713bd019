"""Policies, task life, owners, trials and what they are measured by."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "alerts_0002"
down_revision = "alerts_0001"
branch_labels = None
depends_on = None

TZ = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Add what tasks need beyond being raised and closed."""
    _customer()
    _task()
    _index_task()
    _add_task_event()
    _add_owner()
    _add_policy()
    _add_idempotency()
    _add_trial()
    _add_purchase()
    _add_assessment()
    _add_save_rate()
    _add_segment_entry()


def _customer() -> None:
    op.add_column("customer", sa.Column("probability", sa.Float(), nullable=True), schema="alerts")
    op.add_column(
        "customer",
        sa.Column("recent", postgresql.ARRAY(TZ), nullable=True),
        schema="alerts",
    )
    op.add_column(
        "customer",
        sa.Column("win_back_at", TZ, nullable=True),
        schema="alerts",
    )
    op.add_column("customer", sa.Column("grade", sa.Text(), nullable=True), schema="alerts")
    op.create_index(
        "ix_customer_birthday",
        "customer",
        [sa.literal_column("substr(profile ->> 'birthday', 6)")],
        unique=False,
        schema="alerts",
        postgresql_where=sa.text("profile ? 'birthday'"),
    )


def _task() -> None:
    for column in (
        sa.Column("leaving_cause", sa.Text()),
        sa.Column("kind", sa.Text(), server_default="retention", nullable=False),
        sa.Column("plan", postgresql.JSONB(), server_default='{"playbook": "any"}', nullable=False),
        sa.Column("policy", sa.Text(), server_default="default@0", nullable=False),
        sa.Column("grade", sa.Text()),
        sa.Column("tier", sa.Text()),
        sa.Column("lifecycle", sa.Text()),
        sa.Column("queue", sa.Text(), server_default="owner", nullable=False),
        sa.Column("grade_rank", sa.SmallInteger(), server_default="2", nullable=False),
        sa.Column("worth", sa.Float(), server_default="0", nullable=False),
        sa.Column("progress", sa.Text(), server_default="new", nullable=False),
        sa.Column("snoozed_until", TZ),
        sa.Column("respond_by", TZ),
        sa.Column("escalations", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("escalated_to", sa.Text()),
        sa.Column("expires_at", TZ),
        sa.Column("waiting", sa.Text()),
        sa.Column("tell_at", TZ),
        sa.Column("allocated_at", TZ),
        sa.Column("changed_at", TZ),
    ):
        op.add_column("task", column, schema="alerts")


def _index_task() -> None:
    op.create_index(
        "ix_task_expires",
        "task",
        ["expires_at"],
        unique=False,
        schema="alerts",
        postgresql_where=sa.text("status = 'open'"),
    )
    op.create_index(
        "ix_task_queue",
        "task",
        ["queue", "owner_id", "grade_rank", sa.literal_column("worth DESC"), "id"],
        unique=False,
        schema="alerts",
        postgresql_where=sa.text("status = 'open'"),
    )
    op.create_index(
        "ix_task_respond_by",
        "task",
        ["respond_by"],
        unique=False,
        schema="alerts",
        postgresql_where=sa.text("status = 'open'"),
    )
    op.create_index(
        "ix_task_waiting",
        "task",
        ["waiting", "tell_at"],
        unique=False,
        schema="alerts",
        postgresql_where=sa.text("status = 'open' AND waiting IS NOT NULL"),
    )
    op.create_index(
        "ix_task_worth",
        "task",
        ["queue", "grade_rank", sa.literal_column("worth DESC"), "id"],
        unique=False,
        schema="alerts",
        postgresql_where=sa.text("status = 'open'"),
    )


def _add_task_event() -> None:
    op.create_table(
        "task_event",
        sa.Column("customer_id", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("task_id", sa.Text(), nullable=False),
        sa.Column("at", TZ, nullable=False),
        sa.Column("recorded_at", TZ, nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("detail", postgresql.JSONB(), nullable=False),
        sa.PrimaryKeyConstraint("customer_id", "number"),
        schema="alerts",
    )
    op.create_index(
        "ix_task_event_task", "task_event", ["task_id", "number"], unique=False, schema="alerts"
    )


def _add_owner() -> None:
    op.create_table(
        "owner",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("time_zone", sa.Text(), nullable=True),
        sa.Column("capacity_per_day", sa.Integer(), nullable=True),
        sa.Column("manager_id", sa.Text(), nullable=True),
        sa.Column("fallback_id", sa.Text(), nullable=True),
        sa.Column("updated_at", TZ, nullable=False),
        sa.Column("updated_by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        schema="alerts",
    )


def _add_policy() -> None:
    op.create_table(
        "policy",
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("document", postgresql.JSONB(), nullable=False),
        sa.Column("diff", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("created_at", TZ, nullable=False),
        sa.PrimaryKeyConstraint("version"),
        schema="alerts",
    )


def _add_idempotency() -> None:
    op.create_table(
        "idempotency",
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("status", sa.SmallInteger(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", TZ, nullable=False),
        sa.PrimaryKeyConstraint("holder", "key"),
        schema="alerts",
    )
    op.create_index(
        "ix_idempotency_created", "idempotency", ["created_at"], unique=False, schema="alerts"
    )


def _add_trial() -> None:
    op.create_table(
        "trial",
        sa.Column("customer_id", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("policy", sa.Text(), nullable=False),
        sa.Column("policy_version", sa.Integer(), nullable=False),
        sa.Column("arm", sa.Text(), nullable=False),
        sa.Column("eligible", sa.Boolean(), nullable=False),
        sa.Column("at", TZ, nullable=False),
        sa.Column("until", TZ, nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("playbook", sa.Text(), nullable=False),
        sa.Column("owner_id", sa.Text(), nullable=True),
        sa.Column("grade", sa.Text(), nullable=True),
        sa.Column("segments", postgresql.JSONB(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("probability", sa.Float(), nullable=False),
        sa.Column("value_at_risk", sa.Float(), nullable=False),
        sa.Column("returned_at", TZ, nullable=True),
        sa.Column("purchases", sa.Integer(), nullable=True),
        sa.Column("revenue", sa.Float(), nullable=True),
        sa.Column("measured_at", TZ, nullable=True),
        sa.PrimaryKeyConstraint("customer_id", "id"),
        schema="alerts",
    )
    op.create_index("ix_trial_policy", "trial", ["policy", "at"], unique=False, schema="alerts")
    op.create_index(
        "ix_trial_unmeasured",
        "trial",
        ["until"],
        unique=False,
        schema="alerts",
        postgresql_where=sa.text("measured_at IS NULL"),
    )


def _add_purchase() -> None:
    op.create_table(
        "purchase",
        sa.Column("customer_id", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("at", TZ, nullable=False),
        sa.Column("amount", sa.Float(), nullable=False),
        sa.Column("refund", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("customer_id", "source", "id"),
        schema="alerts",
    )
    op.create_index("ix_purchase_at", "purchase", ["at"], unique=False, schema="alerts")
    op.create_index(
        "ix_purchase_customer_at", "purchase", ["customer_id", "at"], unique=False, schema="alerts"
    )


def _add_assessment() -> None:
    op.create_table(
        "assessment",
        sa.Column("customer_id", sa.Text(), nullable=False),
        sa.Column("revision", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("assessed_at", TZ, nullable=False),
        sa.Column("message", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("customer_id", "revision"),
        schema="alerts",
    )
    op.create_index(
        "ix_assessment_at", "assessment", ["assessed_at"], unique=False, schema="alerts"
    )


def _add_save_rate() -> None:
    op.create_table(
        "save_rate",
        sa.Column("playbook", sa.Text(), nullable=False),
        sa.Column("rate", sa.Float(), nullable=False),
        sa.Column("treated", sa.Integer(), nullable=False),
        sa.Column("held_out", sa.Integer(), nullable=False),
        sa.Column("measured_at", TZ, nullable=False),
        sa.PrimaryKeyConstraint("playbook"),
        schema="alerts",
    )


def _add_segment_entry() -> None:
    op.create_table(
        "segment_entry",
        sa.Column("customer_id", sa.Text(), nullable=False),
        sa.Column("segment", sa.Text(), nullable=False),
        sa.Column("entry", sa.Text(), nullable=False),
        sa.Column("at", TZ, nullable=False),
        sa.PrimaryKeyConstraint("customer_id", "segment", "entry"),
        schema="alerts",
    )
    op.create_index("ix_segment_entry_at", "segment_entry", ["at"], unique=False, schema="alerts")
