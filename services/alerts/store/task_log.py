"""Stores the history of tasks: statements on `alerts.task_event`, within an open transaction."""

from collections.abc import Sequence
from typing import Any

import msgspec

from services.alerts.core.task_lifecycle import TaskEvent
from shared.postgres.engine import UnitOfWork


async def add(work: UnitOfWork, events: Sequence[TaskEvent]) -> None:
    """Store events, in order."""
    if events:
        columns = ", ".join(TaskEvent.__struct_fields__)
        await work.driver.execute(
            f"INSERT INTO alerts.task_event ({columns}) SELECT {columns} "  # noqa: S608
            "FROM json_populate_recordset(NULL::alerts.task_event, $1::json)",
            msgspec.json.encode(events).decode(),
        )


async def of(work: UnitOfWork, task_id: str, most: int) -> list[dict[str, Any]]:
    """Return the newest `most` events of a task, the newest last."""
    rows = await work.driver.fetch(
        "SELECT * FROM (SELECT * FROM alerts.task_event WHERE task_id = $1 "
        "ORDER BY number DESC LIMIT $2) newest ORDER BY number",
        task_id,
        most,
    )
    return [dict(row) for row in rows]
