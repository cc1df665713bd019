"""uvicorn's HTTP protocol with bounds on connections: on their number and on their waiting time.

uvicorn bounds only the pause between two requests. A connection that sends no request, or only part
of its head, or a body that is no longer read would stay open for ever.
"""

import asyncio
from typing import Any, ClassVar, Final

from uvicorn.protocols.http.h11_impl import H11Protocol

CONNECTIONS_MAX: Final = 512
"""Connections open at once: half of the 1,024 descriptors that a process usually has, since Kafka,
PostgreSQL and receivers need theirs."""

HEAD_S_MAX: Final = 10.0
"""From a connection, or the first piece of a request, to the end of its head."""

HEAD_BYTES_MAX: Final = 32 * 1024
"""Bytes of a request line and headers: 16 times what clients send."""

KEEP_ALIVE_S: Final = 30
"""Between two requests of one connection: a scraper comes every 15 s."""


class BoundedProtocol(H11Protocol):
    """Closes connections that wait too long.

    Above the bound, the connection that has waited longest is closed, so that probes always come
    through.
    """

    waiting: ClassVar[dict["BoundedProtocol", None]] = {}
    """Connections without a request in progress, the oldest first."""

    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """As in uvicorn; closes the longest waiting connection when there are too many."""
        super().connection_made(transport)
        if len(self.connections) > CONNECTIONS_MAX:
            next(iter(self.waiting), self).transport.close()
        self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """As in uvicorn."""
        self._head_is_there()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """As in uvicorn; a piece of a head does not extend its time."""
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._head_is_there()
        elif not self.transport.is_closing():
            self._wait_for_head()

    def on_response_complete(self) -> None:
        """As in uvicorn; the connection then waits, and may be closed."""
        super().on_response_complete()
        under_way: Any = self.cycle  # another one, where requests were pipelined
        if under_way is None or under_way.response_complete:
            self.waiting[self] = None

    def _wait_for_head(self) -> None:
        self.waiting.setdefault(self, None)
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_S_MAX, self._give_up)

    def _head_is_there(self) -> None:
        self.waiting.pop(self, None)
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _give_up(self) -> None:
        self._head_timer = None
        self.transport.close()
