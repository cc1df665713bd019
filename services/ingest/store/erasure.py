"""SQL that deletes the content of an erased customer's dead letters."""

import json
from datetime import datetime

from shared.postgres.engine import UnitOfWork
from shared.postgres.statements import row_count

WHY = "the customer was erased"


def texts_of(customer_id: str) -> tuple[bytes, bytes]:
    """Returns the id as a text of JSON, as it is and with escapes.

    >>> texts_of("customer-7")
    (b'"customer-7"', b'"customer-7"')
    """
    plain, escaped = json.dumps(customer_id, ensure_ascii=False), json.dumps(customer_id)
    return plain.encode(), escaped.encode()


async def delete_contents(work: UnitOfWork, customer_id: str, now: datetime, by: str) -> int:
    """Deletes content with the customer's id as its key or as a text of its JSON; counts it.

    The reason may quote the content, and goes too. Reads all dead letters: they are few.
    """
    plain, escaped = texts_of(customer_id)
    await work.driver.execute("SET LOCAL statement_timeout = 0")
    status = await work.driver.execute(
        """
        UPDATE ingest.dead_letter
           SET key = NULL, value = NULL, header_names = '{}', header_values = '{}',
               reason = $4, state = 'discarded', dropped_at = $3,
               settled_at = coalesce(settled_at, $3), settled_by = coalesce(settled_by, $5),
               settled_why = $4
         WHERE dropped_at IS NULL
           AND (key = $1 OR position($2::bytea IN value) > 0
                OR position($6::bytea IN value) > 0)
        """,
        customer_id.encode(),
        plain,
        now,
        WHY,
        by,
        escaped,
    )
    return row_count(status)
