"""A delivery as a connector sees it: the task in the message, and the change.

Reads the body that a plain webhook would get, so that every connector works from the same content.
Receivers are chosen elsewhere.
"""

from datetime import datetime
from typing import Any

import msgspec

from shared.kernel.errors import UNREADABLE, Invalid

OPENED = "retention_task.opened"
CLOSED = "retention_task.closed"


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """The change (`type`) and the published task."""

    type: str
    data: dict[str, Any]

    @property
    def task(self) -> dict[str, Any]:
        """Return the task's fields (`services.alerts.core.webhook_payload.TaskPayload`)."""
        found: dict[str, Any] = self.data["task"]
        return found

    @property
    def key(self) -> str:
        """Return our id of the task: the key under which each CRM keeps it."""
        return str(self.task["id"])

    @property
    def owner_id(self) -> str | None:
        """Return the account owner's id in the company's own system; None: no owner."""
        owner = self.task.get("owner")
        return None if owner is None else str(owner["id"])

    @property
    def chinese(self) -> bool:
        """Return whether the task's texts are in Simplified Chinese."""
        return str(self.task.get("language", "")).startswith("zh")


class _Named(msgspec.Struct):
    id: str
    name: str | None = None


class _Reason(msgspec.Struct):
    text: str


class _Read(msgspec.Struct):
    """The fields that connectors read of a task, where present."""

    id: str
    reasons: list[_Reason]
    customer: _Named
    owner: _Named | None = None
    version: int = 1
    language: str = ""
    status: str = ""
    band: str | None = None
    title: str | None = None
    probability: float | None = None
    value_at_risk: float | None = None
    due_at: datetime | None = None
    close_reason: str | None = None


_DECODER = msgspec.json.Decoder(Notice)


def read_notice(body: bytes) -> Notice:
    """Decode the notice in a delivery's body, which we wrote ourselves.

    Raises Invalid if the body is a thin one, or one that this version cannot read.
    """
    try:
        notice = _DECODER.decode(body)
        task = notice.data.get("task")
        if isinstance(task, dict) and "reasons" in task:
            msgspec.convert(task, _Read)
            return notice
    except UNREADABLE as wrong:
        raise Invalid("body", f"cannot be read: {wrong}") from None
    raise Invalid("payload", "is `thin`: a connector fills its fields from a `full` one")
