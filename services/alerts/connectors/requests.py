"""Steps that all connectors share: one request, and errors turned into answers."""

from collections.abc import Awaitable
from typing import Final, TypeVar

from services.alerts.connectors.core.call import Call
from services.alerts.connectors.ports import (
    OwnerTable,
)
from services.alerts.delivery.core.retry import Answer, Reply
from services.alerts.delivery.http_client import Http
from shared.kernel.errors import Invalid, Transient

ANSWER_BYTES_MAX: Final = 4_000_000
"""Bytes of the answer to a query: 200 rows of 20 kB."""

T = TypeVar("T")


async def send_call(http: Http, address: str, call: Call) -> Reply:
    """Send one request of a connector."""
    return await http.send(
        call.method, address + call.path, call.headers, call.body, bytes_max=ANSWER_BYTES_MAX
    )


async def row_of(owners: OwnerTable, endpoint_id: str, owner_id: str | None) -> str | None:
    """Return the owner table's entry for an owner."""
    return None if owner_id is None else await owners.remote(endpoint_id, owner_id)


async def answered(step: Awaitable[T]) -> T | Answer:
    """Return the step's result, or an answer for its error.

    `permanent` for a message that cannot be sent as it is; `retry` when PostgreSQL was unreachable
    before anything was created.
    """
    try:
        return await step
    except Invalid as wrong:
        return Answer("permanent", error=str(wrong))
    except Transient as trouble:
        return Answer("retry", error=f"waiting for PostgreSQL: {trouble}")
