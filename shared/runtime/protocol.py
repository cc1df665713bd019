"""uvicorn's HTTP protocol with bounds on connections: none stays half open, none is one too many.

uvicorn bounds the pause between two requests only. A connection that sends no request, a piece of
its head, or a body that nobody reads any more would stay for good.
"""

import asyncio
from typing import Any, ClassVar, Final

from uvicorn.protocols.http.h11_impl import H11Protocol

CONNECTIONS_MAX: Final = 512
"""Open at once: half of the 1,024 descriptors that a process usually has, since Kafka, PostgreSQL
and receivers want theirs."""

HEAD_S_MAX: Final = 10.0
"""From a connection, or the first piece of a request, to the end of its head."""

HEAD_BYTES_MAX: Final = 32 * 1024
"""Of a request line and headers: 16 times what clients send."""

KEEP_ALIVE_S: Final = 30
"""Between two requests of one connection: a scraper comes every 15 s."""


class BoundedProtocol(H11Protocol):
    """Closes what waits too long; above the bound the connection that has waited longest makes
    room, so that probes always come through."""

    waiting: ClassVar[dict["BoundedProtocol", None]] = {}
    """Connections without a request under way, the oldest first."""

    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """As uvicorn's; makes room where there is none."""
        super().connection_made(transport)
        if len(self.connections) > CONNECTIONS_MAX:
            next(iter(self.waiting), self).transport.close()
        self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """As uvicorn's."""
        self._head_is_there()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """As uvicorn's; a piece of a head does not prolong its time."""
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._head_is_there()
        elif not self.transport.is_closing():
            self._wait_for_head()

    def on_response_complete(self) -> None:
        """As uvicorn's; then the next one may make room, and is closed when it stays silent."""
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
