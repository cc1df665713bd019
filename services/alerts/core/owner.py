"""The company's record of an account owner, beyond the name that profiles carry."""

from typing import Annotated

import msgspec
from msgspec import Meta


class OwnerRecord(msgspec.Struct, kw_only=True, frozen=True):
    """An account owner. An owner without a record has no limit, no manager and no fallback."""

    id: str
    name: str | None = None
    time_zone: str | None = None
    """IANA name; None: the policy's."""
    capacity_per_day: Annotated[int, Meta(ge=0, le=10_000)] | None = None
    """New tasks a day; further ones wait, and the most valuable come first. None: no limit."""
    manager_id: str | None = None
    """Receives the escalation when the response target of a task has passed."""
    fallback_id: str | None = None
    """Takes over waiting and unanswered tasks. None: unanswered tasks go to the manager."""
