"""Use case: sends the records of concurrent requests to Kafka, those that wait in one call.

One call runs at a time, since one that fails closes the producer. What arrives meanwhile goes
together in the next one: an acknowledgement takes as long for one record as for thousands.
"""

import asyncio
from collections.abc import Sequence
from typing import Final

from services.ingest.ports import Outlet
from shared.kafka.producer import Record
from shared.kernel.errors import Transient

TURN_S_MAX: Final = 10.0
"""How long a request waits for the ones before it; after that the broker is in trouble."""


class _Group:
    """The records of requests that wait together."""

    def __init__(self, records: Sequence[Record]) -> None:
        self.records = list(records)
        self.sent: asyncio.Future[None] = asyncio.get_running_loop().create_future()


class SendTogether:
    """Safe to call concurrently; callers bound how many requests there are at once."""

    def __init__(self, outlet: Outlet) -> None:
        self._outlet = outlet
        self._turn = asyncio.Lock()
        self._waiting: _Group | None = None
        """The group that has not begun yet."""

    async def __call__(self, records: Sequence[Record]) -> None:
        """Return once these records are acknowledged; raises Transient when the outcome is unknown.

        The first request of a group sends it for all.
        """
        if not records:
            return
        group = self._waiting
        if group is not None:
            group.records += records
            await asyncio.shield(group.sent)
            return
        group = self._waiting = _Group(records)
        try:
            await self._send(group)
        except BaseException as error:
            if self._waiting is group:
                self._waiting = None
            shared = error if isinstance(error, Transient) else Transient("not sent")
            group.sent.set_exception(shared)
            group.sent.exception()  # retrieved, also where no other request waits for it
            raise
        group.sent.set_result(None)

    async def _send(self, group: _Group) -> None:
        try:
            async with asyncio.timeout(TURN_S_MAX):
                await self._turn.acquire()
        except TimeoutError as error:
            raise Transient("earlier requests are still not acknowledged") from error
        try:
            self._waiting = None
            await self._outlet.send(group.records)
        finally:
            self._turn.release()
