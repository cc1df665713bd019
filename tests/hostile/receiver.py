"""A receiver of everything that alerts sends: answers well or with hostility, as configured."""

import asyncio
import contextlib
import re
import socket
import struct
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from services.alerts.delivery.core.endpoint import Kind
from tests.hostile.answers import Answer, Hostile
from tests.hostile.neighbour import ENDED
from tests.hostile.vendors import TOKENS, good, good_content, succeeds

LENGTH: Final = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
MESSAGE: Final = re.compile(rb"webhook-id: *(\S+)", re.IGNORECASE)
HOSTILE_TOKEN: Final = 0.05
"""Share of token requests with a hostile answer: at most some of a vendor's quota."""


@dataclass(frozen=True, slots=True)
class Given:
    """The answer given to one request."""

    message: str
    """`webhook-id` of the request, where it has one."""
    succeeds: bool
    clear: bool
    """Whether it is whole, so that it must be understood."""
    kind: str


@dataclass(slots=True)
class Receiver:
    """The receiver. Paths begin with the endpoint's id; its kind is in `kinds`."""

    hostile: Hostile
    port: int = 0
    attacks: bool = False
    kinds: dict[str, Kind] = field(default_factory=dict)
    given: dict[str, list[Given]] = field(default_factory=dict)
    by_kind: Counter[str] = field(default_factory=Counter)
    """Hostile answers, by kind."""

    def url(self, endpoint: str) -> str:
        """Return the address of an endpoint."""
        return f"http://127.0.0.1:{self.port}/{endpoint}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        with contextlib.suppress(*ENDED):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                if found := LENGTH.search(head):
                    await reader.readexactly(int(found[1]))
                answer = self._choose(head)
                await _send(answer, writer)
                if not answer.keep:
                    break
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    def _choose(self, head: bytes) -> Answer:
        path = head.split(b" ", 2)[1].decode("latin-1")
        endpoint = path.split("/")[1].partition("?")[0]
        kind = self.kinds.get(endpoint, "webhook")
        calm = any(part in path for part in TOKENS) and (
            self.hostile.dice.random() >= HOSTILE_TOKEN
        )
        if not self.attacks or calm:
            answer = good(kind, path)
        else:
            content = good_content(kind, path)
            answer = self.hostile.answer(() if content is None else (content,))
            self.by_kind[answer.kind] += 1
        message = MESSAGE.search(head)
        self.given.setdefault(endpoint, []).append(
            Given(
                message[1].decode() if message else "",
                succeeds(kind, path, answer),
                answer.whole,
                answer.kind,
            )
        )
        return answer


async def _send(answer: Answer, writer: asyncio.StreamWriter) -> None:
    for piece in answer.pieces:
        if isinstance(piece, float):
            await asyncio.sleep(piece)
        else:
            writer.write(piece)
            await writer.drain()
        if writer.is_closing():
            raise ConnectionResetError
    if answer.reset:
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()


@asynccontextmanager
async def receiving(seed: int) -> AsyncIterator[Receiver]:
    """Runs a receiver."""
    receiver = Receiver(Hostile(seed))
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0, limit=2**20)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()
