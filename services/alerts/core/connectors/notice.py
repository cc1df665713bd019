"""A delivery as a connector sees it: the task in the message, and what has happened to it.

What it is for: reading the body that a plain webhook would get, so that every connector works
from the same words. It never decides whom to tell.
"""

from typing import Any

import msgspec

from shared.kernel.errors import Invalid

OPENED = "retention_task.opened"
CLOSED = "retention_task.closed"


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """What happened (`type`) and the task as it is told."""

    type: str
    data: dict[str, Any]

    @property
    def task(self) -> dict[str, Any]:
        """The task's fields (`services.alerts.core.message.TaskTold`)."""
        found: dict[str, Any] = self.data["task"]
        return found

    @property
    def key(self) -> str:
        """Our id of the task: the key under which each CRM keeps it."""
        return str(self.task["id"])

    @property
    def owner_id(self) -> str | None:
        """The account owner's id in the company's own system; None: nobody."""
        owner = self.task.get("owner")
        return None if owner is None else str(owner["id"])

    @property
    def chinese(self) -> bool:
        """Whether the task is worded in Simplified Chinese."""
        return str(self.task.get("language", "")).startswith("zh")


_DECODER = msgspec.json.Decoder(Notice)


def read_notice(body: bytes) -> Notice:
    """The notice in a delivery's body, which we wrote ourselves; Invalid if it is a thin one."""
    notice = _DECODER.decode(body)
    if "reasons" not in notice.task:
        raise Invalid("payload", "is `thin`: a connector fills its fields from a `full` one")
    return notice
