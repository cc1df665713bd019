"""Deletes the personal data that alerts has of a customer.

Statements on all rows of one customer, who must be locked. Tasks and measured trials stay for
counts, under a random id instead of the customer's.
"""

import uuid
from typing import Final

from services.alerts.store.tables import erasure, metadata
from shared.contracts.customer_message import SEND
from shared.postgres.engine import UnitOfWork
from shared.postgres.statements import row_count

RENAMED: Final = ("task", "trial")
"""Tables whose rows stay, under a random id."""

SENT: Final = ("delivery", "attempt", "remote_task")
"""Tables about messages to endpoints: they are needed until the task's end was delivered."""

DELETED: Final = tuple(
    name
    for table in sorted(metadata.tables.values(), key=lambda each: each.name)
    if "customer_id" in table.c
    and (name := table.name) not in (*RENAMED, *SENT)
    and table is not erasure
)
"""Every other table with rows of customers: a new table is erased without being listed here."""


_OF_CONTACT: Final = (
    "alerts.customer c WHERE c.customer_id = $1 AND c.contact AND t.customer_id = c.part_of "
    "AND t.came_with = $1"
)
_WITH_ACCOUNT: Final = (
    f"DELETE FROM alerts.purchase t USING {_OF_CONTACT}",  # noqa: S608 (our own words)
    f"UPDATE alerts.task t SET came_with = NULL, note = NULL FROM {_OF_CONTACT}",  # noqa: S608
    f"UPDATE alerts.trial t SET came_with = NULL FROM {_OF_CONTACT}",  # noqa: S608
)
"""What a contact left with the account, which did not ask to be forgotten."""


async def knows(work: UnitOfWork, customer_id: str) -> bool:
    """Return whether this id was ever seen; asked before it is locked, which makes a row."""
    found: bool = await work.driver.fetchval(
        "SELECT EXISTS (SELECT FROM alerts.customer WHERE customer_id = $1)", customer_id
    )
    return found


async def forget_names(work: UnitOfWork, customer_id: str) -> None:
    """Delete names, notes and reasons from the tasks, before their end is sent."""
    await work.driver.execute(
        "UPDATE alerts.task SET customer_name = NULL, note = NULL, reasons = '[]', "
        "plan = jsonb_build_object('playbook', plan -> 'playbook') "
        "WHERE customer_id = $1",
        customer_id,
    )


async def forget(work: UnitOfWork, customer_id: str) -> dict[str, int]:
    """Delete or rename everything but what is still to be sent; return the rows by table."""
    rows = {}
    for statement in _WITH_ACCOUNT:
        await work.driver.execute(statement, customer_id)
    for table in DELETED:
        rows[table] = await _run(
            work,
            f"DELETE FROM alerts.{table} WHERE customer_id = $1",  # noqa: S608 (our own names)
            customer_id,
        )
    # Its outcome is unknown, and would be measured as not coming back.
    rows["trial"] = await _run(
        work,
        "DELETE FROM alerts.trial WHERE customer_id = $1 AND measured_at IS NULL",
        customer_id,
    )
    await work.driver.execute(
        "UPDATE alerts.trial SET features = NULL, feature_version = NULL WHERE customer_id = $1",
        customer_id,
    )
    # The provider does not know the customer from us: nothing has to be taken back.
    rows["delivery"] = await _run(
        work,
        "DELETE FROM alerts.delivery WHERE customer_id = $1 AND kind = $2",
        customer_id,
        SEND,
    )
    nameless = f"erased-{uuid.uuid4()}"
    for table in RENAMED:
        rows[table] = rows.get(table, 0) + await _run(
            work,
            f"UPDATE alerts.{table} SET customer_id = $2, came_with = NULL "  # noqa: S608
            "WHERE customer_id = $1",
            customer_id,
            nameless,
        )
    rows["idempotency"] = await _run(
        work,
        "DELETE FROM alerts.idempotency WHERE position(convert_to($1, 'UTF8') IN body) > 0",
        customer_id,
    )
    await work.driver.execute("DELETE FROM alerts.suspect WHERE item = $1", customer_id)
    return rows


async def forget_sent(work: UnitOfWork, request_id: str, customer_id: str) -> dict[str, int] | None:
    """Delete the messages from before the erasure; None while one of them is to be sent."""
    pending = await work.driver.fetchval(
        "SELECT EXISTS (SELECT 1 FROM alerts.delivery d, alerts.erasure e "
        "WHERE d.customer_id = $1 AND d.status = 'pending' AND e.request_id = $2 "
        "AND d.created_at <= e.begun_at)",
        customer_id,
        request_id,
    )
    if pending:
        return None
    rows = {}
    for table, at in (
        ("attempt", "started_at"), ("remote_task", "created_at"), ("delivery", "created_at")
    ):  # fmt: skip
        # A person who came back may have newer ones. Attempts of older messages follow the
        # erasure, and are all that there is until then.
        bound = "e.begun_at" if table != "attempt" else "clock_timestamp()"
        rows[table] = await _run(
            work,
            f"DELETE FROM alerts.{table} s USING alerts.erasure e "  # noqa: S608 (our own names)
            f"WHERE s.customer_id = $1 AND e.request_id = $2 AND s.{at} <= {bound}",
            customer_id,
            request_id,
        )
    return rows


async def _run(work: UnitOfWork, statement: str, *arguments: object) -> int:
    """Return the number of rows that a statement changed."""
    return row_count(await work.driver.execute(statement, *arguments))
