"""Unwraps the change events of Debezium: the row before and after, and what was done to it."""

from typing import Any

OPERATIONS = ("c", "r", "u", "d")
"""Create, read (a row of a snapshot), update, delete. Others have no row."""


def unwrapped(record: Any) -> Any:
    """Returns a change event without its schema envelope, with the row as `row`.

    `row` is the row after the change, or before it where the row was deleted. `changed` has the
    values before the change of the columns that an update changed; it is empty where the database
    does not send them (PostgreSQL's default replica identity). What is no change event is returned
    as it is.

    >>> unwrapped({"payload": {"op": "d", "before": {"id": 1}, "after": None}})["row"]
    {'id': 1}
    """
    if not isinstance(record, dict):
        return record
    inner = record.get("payload")
    event = inner if isinstance(inner, dict) and "op" not in record else record
    if event.get("op") not in OPERATIONS:
        return event
    before, after = event.get("before"), event.get("after")
    old = before if isinstance(before, dict) else {}
    new = after if isinstance(after, dict) else {}
    changed = {name: old[name] for name in old if name in new and old[name] != new[name]}
    return event | {"row": new or old, "changed": changed if new else {}}
