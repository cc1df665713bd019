"""A receiver process: notes when each message arrived, by the machine-wide monotonic clock.

python -m tests.benchmark.receiver: writes its port. POST /ok answers 204, POST /hang never answers;
GET /arrivals returns and clears {webhook-id: seconds}.
"""

import asyncio
import json
import sys
import time

ARRIVALS: dict[str, float] = {}
NO_CONTENT = b"HTTP/1.1 204 No Content\r\n\r\n"


class Receiving(asyncio.Protocol):
    """One connection; requests come one after another."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._received = bytearray()

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (end := self._received.find(b"\r\n\r\n")) >= 0:
            at = time.monotonic()
            head = bytes(self._received[:end]).decode()
            first, *lines = head.split("\r\n")
            headers = {k.lower(): v for k, _, v in (line.partition(": ") for line in lines)}
            size = end + 4 + int(headers.get("content-length", "0"))
            if len(self._received) < size:
                return
            del self._received[:size]
            self._answer(first, headers, at)

    def _answer(self, first: str, headers: dict[str, str], at: float) -> None:
        if first.startswith("GET"):
            body = json.dumps(ARRIVALS).encode()
            ARRIVALS.clear()
            head = f"HTTP/1.1 200 OK\r\ncontent-length: {len(body)}\r\n\r\n"
            self._transport.write(head.encode() + body)
        elif first.startswith("POST /ok"):
            ARRIVALS.setdefault(headers["webhook-id"], at)
            self._transport.write(NO_CONTENT)


async def main() -> None:
    """Serves until killed."""
    server = await asyncio.get_running_loop().create_server(Receiving, "127.0.0.1", 0)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
