"""HTTP API of the audit: who changed what, when and from where."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Query
from pydantic import BaseModel, ConfigDict

from shared.contracts.events import ID_LENGTH_MAX
from shared.http.access import NAME_CHARS_MAX, Tokens, require
from shared.http.fields import Instant
from shared.http.paging import Cursor, Limit, decoded, page_of, serial
from shared.postgres.audit import Audit, Wanted

ACTION_CHARS_MAX = 200


class EntryView(BaseModel):
    """One change."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    at: datetime
    actor: str
    """A token's name, or the operating system's user of a command."""
    on_behalf_of: str | None
    """The person for whom the token acted."""
    origin: str
    action: str
    target: dict[str, Any]
    sent: Any
    """The content as sent, without secrets; null where it may be about a person."""
    outcome: str | None
    """Status of the answer or of the exit; null: it did not come to an end."""
    before: Any
    """What was there before, without secrets: a row, rows, or null for none."""
    after: Any
    """What was there afterwards."""
    ended_at: datetime | None


class AuditPage(BaseModel):
    """Entries, newest first."""

    items: list[EntryView]
    next: str | None


def add_audit_routes(app: FastAPI, audit: Audit, tokens: Tokens) -> None:
    """Add `GET /v1/audit`."""
    reads = [Depends(require(tokens, "audit:read"))]

    @app.get("/v1/audit", dependencies=reads, tags=["audit"])
    async def entries(
        actor: Annotated[str | None, Query(min_length=1, max_length=NAME_CHARS_MAX)] = None,
        action: Annotated[str | None, Query(min_length=1, max_length=ACTION_CHARS_MAX)] = None,
        customer_id: Annotated[str | None, Query(min_length=1, max_length=ID_LENGTH_MAX)] = None,
        since: Instant | None = None,
        until: Instant | None = None,
        cursor: Cursor = None,
        limit: Limit = 50,
    ) -> AuditPage:
        """List changes, newest first: who made them, where, and what was there before and after.

        `actor` also finds what was done for a person; `action` may be a part; `customer_id` finds
        the changes about one.
        """
        wanted = Wanted(
            actor=actor,
            action=action,
            customer_id=customer_id,
            since=since,
            until=until,
            before_id=None if cursor is None else serial(decoded(cursor)),
        )
        rows = await audit.find(wanted, limit + 1)
        found, more = page_of(rows, limit, lambda entry: entry.id)
        items = [EntryView.model_validate(entry) for entry in found]
        return AuditPage(items=items, next=more)
