"""What was warned of is remembered by cause; tasks name all that they warn of."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "alerts_0009"
down_revision = "alerts_0008"
branch_labels = None
depends_on = None

SCHEMA = "alerts"
TZ = sa.DateTime(timezone=True)

REMEMBER = """
UPDATE alerts.customer c SET warned = w.warned
  FROM (SELECT customer_id, jsonb_agg(jsonb_build_object('cause', cause, 'at', at, 'armed', armed)
                                      ORDER BY cause) AS warned
          FROM (SELECT r.customer_id, r.cause, max(r.at) AS at, bool_and(k.armed) AS armed
                  FROM (SELECT customer_id, cause, opened_at AS at FROM alerts.task
                         WHERE kind IN ('retention', 'win_back')
                        UNION ALL SELECT customer_id, cause, at FROM alerts.trial) r
                  JOIN alerts.customer k USING (customer_id)
                 GROUP BY 1, 2) of_cause
         GROUP BY 1) w
 WHERE c.customer_id = w.customer_id
"""
"""From the tasks that were raised and held out. Who had one and was not below the band since is
not warned of the same again until the sign has been away, or the customer has bought."""

LEAVING = """
UPDATE alerts.customer c SET leaving_cause = t.leaving_cause, leaving_at = t.closed_at
  FROM (SELECT DISTINCT ON (customer_id) customer_id, leaving_cause, closed_at FROM alerts.task
         WHERE verdict = 'leaving' AND leaving_cause IS NOT NULL AND closed_at IS NOT NULL
         ORDER BY customer_id, closed_at DESC, id) t
 WHERE c.customer_id = t.customer_id
"""


def upgrade() -> None:
    """Add the columns, and fill them from what is known.

    A process of the version before goes on: it names none of them, and keeps what it reads.
    """
    for column in (
        sa.Column("warned", postgresql.JSONB),
        sa.Column("value_at_risk", sa.Float),
        sa.Column("currency", sa.Text),
        sa.Column("horizon_days", sa.Integer),
        sa.Column("leaving_cause", sa.Text),
        sa.Column("leaving_at", TZ),
    ):
        op.add_column("customer", column, schema=SCHEMA)
    op.add_column(
        "task",
        sa.Column("causes", postgresql.ARRAY(sa.Text), nullable=False, server_default="{}"),
        schema=SCHEMA,
    )
    op.add_column("task", sa.Column("suspected_leaving_cause", sa.Text), schema=SCHEMA)
    op.execute("UPDATE alerts.task SET causes = ARRAY[cause] WHERE status = 'open'")
    op.execute(REMEMBER)
    op.execute(LEAVING)
