"""A connection to a receiver accepts one bounded answer for each request, and nothing beside it.

aiohttp reads interim answers (1xx) without a bound, in the event loop: a flood of them would stop
the whole service. And what arrives on an idle connection would be taken for the answer to the next
request, and the message of that request would then count as delivered.
"""

import asyncio
import functools
from http import HTTPStatus
from typing import Any, Final

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.http_parser import RawResponseMessage

HEAD_BYTES_MAX: Final = 32 * 1024
"""Of interim answers and the head of the final one together: what our own services take as a head
of a request; 2,000 of the shortest interim answers, which take 20 ms to read."""

FINAL_MIN: Final = HTTPStatus.OK
"""Below it an answer is an interim one, 101 aside."""


class Connection(ResponseHandler):
    """One connection, used for one request after the other."""

    _begun: bool = False
    """A request was made on it."""
    _final: bool = False
    """The head of the final answer to the request is there."""
    _head_bytes: int = 0
    """Received before that."""

    def set_response_params(self, **params: Any) -> None:
        """Another request begins."""
        self._begun, self._final, self._head_bytes = True, False, 0
        super().set_response_params(**params)

    def feed_data(self, data: tuple[RawResponseMessage, Any], size: int = 0) -> None:
        """A head was read: an interim answer's, or the final one's."""
        code = data[0].code
        self._final = self._final or code == HTTPStatus.SWITCHING_PROTOCOLS or code >= FINAL_MIN
        if self._final and code // 100 != HTTPStatus.OK // 100:
            # HTTP/1.1 numbers no answer: a success that comes late behind a refusal would be that
            # of the next request. So none follows here.
            self.force_close()
        super().feed_data(data, size)

    def data_received(self, data: bytes) -> None:
        """Bytes from the receiver; empty where a stopped reading goes on."""
        if data and self._answered():
            self._refuse("bytes that answer no request")
            return
        if self._final or not self._begun:
            super().data_received(data)
            return
        head = data[: HEAD_BYTES_MAX - self._head_bytes]
        self._head_bytes += len(head)
        super().data_received(head)
        if not self._final and self._head_bytes >= HEAD_BYTES_MAX:
            self._refuse(f"no final answer within {HEAD_BYTES_MAX} bytes")
        elif rest := data[len(head) :]:
            super().data_received(rest)

    def _answered(self) -> bool:
        """Whether the final answer has come in full, so that nothing more is to come."""
        return self._final and (self._payload is None or self._payload.is_eof())

    def _refuse(self, why: str) -> None:
        """End the connection: who waits for an answer on it gets the reason."""
        if self.transport is not None:
            self.transport.abort()
        if self.exception() is None:
            self.set_exception(aiohttp.ClientPayloadError(why))


class BoundedTcpConnector(aiohttp.TCPConnector):
    """Makes such connections. aiohttp has no public way to name their class."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        made: Any = functools.partial(Connection, loop=asyncio.get_running_loop())
        self._factory = made
