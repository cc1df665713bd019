"""A TCP proxy that can swallow traffic, cut connections, and cut them at a chosen moment."""

import asyncio
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass, field

from deploy.local.waiting import LOOPBACK

CHUNK_BYTES = 65_536
RESET_AT_CLOSE = struct.pack("ii", 1, 0)
"""SO_LINGER with no time: closing sends a reset."""


@dataclass(slots=True)
class Proxy:
    """Between clients and the server at `target`; listens on `port`."""

    target: int
    port: int
    cut_when: Callable[[bytes], bool] | None = None
    """Called with everything that a client sends; True: it is passed on, and the connection is cut
    before the answer."""
    cut: int = 0
    """Number of connections that `cut_when` has cut."""
    _open: asyncio.Event = field(default_factory=asyncio.Event)
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)
    _server: asyncio.Server | None = None

    async def __aenter__(self) -> "Proxy":
        self._open.set()
        self._server = await asyncio.start_server(self._accept, LOOPBACK, self.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
        self._open.set()
        self.reset()

    def hold(self) -> None:
        """Act as a black hole: nothing passes, nothing is refused."""
        self._open.clear()

    def release(self) -> None:
        """Pass everything on again, also what came meanwhile (as retransmission does)."""
        self._open.set()

    def reset(self) -> None:
        """Cut every connection with a reset."""
        for writer in list(self._writers):
            _reset(writer)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection(LOOPBACK, self.target)
        except OSError:
            _reset(writer)
            return
        both = {writer, back}
        self._writers |= both
        try:
            await asyncio.gather(
                self._pump(reader, back, both, from_client=True),
                self._pump(there, writer, both, from_client=False),
            )
        finally:
            self._writers -= both
            for each in both:
                each.close()

    async def _pump(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        both: set[asyncio.StreamWriter],
        *,
        from_client: bool,
    ) -> None:
        try:
            while data := await reader.read(CHUNK_BYTES):
                await self._open.wait()
                writer.write(data)
                await writer.drain()
                if from_client and self.cut_when is not None and self.cut_when(data):
                    self.cut += 1
                    for each in both:
                        _reset(each)
        except OSError:
            pass
        finally:
            writer.close()


def _reset(writer: asyncio.StreamWriter) -> None:
    connection = writer.get_extra_info("socket")
    if connection is not None and connection.fileno() >= 0:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_AT_CLOSE)
    writer.transport.abort()
