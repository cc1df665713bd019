"""Answers of a hostile receiver or CRM, reproducible from a seed.

An answer is what goes over the wire: bytes and pauses, perhaps without an end, perhaps cut off by a
reset. Beside it is what a reader may conclude from it, by the harness's own reading and not by
ours.
"""

import itertools
import json
import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from tests.fuzz.mutation import mutated

PAUSE_S: Final = 0.2
"""Seconds between two bytes of a dripping answer."""
PIECE: Final = b"x" * 65_536
PIECES_MAX: Final = 3_200
"""Pieces of one answer, 200 MB: far more than a service may hold."""
DRIPS_MAX: Final = 300
"""Pieces of a dripping answer, a minute: longer than any attempt may take."""

STATUSES: Final = (
    200, 201, 202, 204, 205, 206, 226, 299, 300, 301, 302, 303, 304, 307, 308, 400, 401, 403, 404,
    405, 408, 409, 410, 413, 418, 421, 425, 426, 428, 429, 431, 451, 499, 500, 501, 502, 503, 504,
    505, 511, 520, 599, 600, 799, 999,
)  # fmt: skip
RETRY_AFTER: Final = (
    "0", "1", "-1", "5.5", "1e9", "NaN", "inf", "9" * 20, "9" * 400, "9" * 5_000, "+99999999999999",
    "0x10", "1, 2", "", " ", "soon", "Wed, 21 Oct 99999999999999999999 07:28:00 GMT",
    "Wed, 99999999999 Oct 2026 07:28:00 GMT", "Wed, 21 Oct 2026 07:28:99999999999 GMT",
    "Wed, 21 Oct 2026 07:28:60 GMT", "Wed, 31 Feb 2026 07:28:00 GMT",
    "Wed, 21 Oct 0000 07:28:00 GMT", "Wed, 21 Oct 9999 23:59:59 GMT",
    "Wednesday, 21-Oct-99 07:28:00 GMT", "Wed Oct  1 07:28:00 2026",
    "2026-10-21T07:28:00Z", "\xff\xfe", "a\tb",
)  # fmt: skip
LOCATIONS: Final = (
    "/", "//evil.example/", "http://169.254.169.254/latest/meta-data/", "file:///etc/passwd",
    "gopher://x", "javascript:alert(1)", "http://[::1", "http://127.0.0.1:1/", "\xff", "x" * 7_000,
)  # fmt: skip
TYPES: Final = (
    "application/json", "text/html", "application/json; charset=utf-16", "image/png", "",
    "text/plain; charset=x-none", "multipart/form-data; boundary=", "a" * 4_000,
    "application/json; charset=\xff",
)  # fmt: skip
HEADERS: Final = (
    ("Content-Encoding", "gzip"), ("Content-Encoding", "br, deflate, x"), ("Connection", "upgrade"),
    ("Upgrade", "h2c"), ("Set-Cookie", "a=" + "b" * 4_000), ("webhook-delivery", "abort-message"),
    ("webhook-delivery", "ABORT-MESSAGE "), ("webhook-delivery", "\xff"), ("X", "a" * 7_000),
    ("Transfer-Encoding", "identity"), ("Trailer", "X"), ("Keep-Alive", "timeout=99999999999"),
    ("Age", "-1"), ("Date", "never"), ("Via", "1.1 x, " * 500), ("Content-Range", "bytes 9-1/2"),
)  # fmt: skip
HEADS: Final = (
    b"", b"\r\n\r\n", b"HTTP/1.1", b"HTTP/1.1 200", b"HTTP/9.9 200 OK\r\n\r\n",
    b"HTTP/1.1 OK\r\n\r\n", b"HTTP/1.1 2000 OK\r\n\r\n", b"HTTP/1.1 -1 OK\r\n\r\n",
    b"HTTP/1.1 99999999999999999999 OK\r\n\r\n", b"HTTP/1.1 \xd9\xa2\xd9\xa0\xd9\xa0 OK\r\n\r\n",
    b"ICY 200 OK\r\n\r\n", b"\x15\x03\x01\x00\x02\x02\x28",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x00" * 1_000,
    b"<html>200 OK</html>", b"SSH-2.0-x\r\n", b"HTTP/1.1 000 \r\n\r\n", b"HTTP/0.9 abc\r\n\r\n",
)  # fmt: skip
"""Beginnings that carry no status."""
TWISTED: Final = (
    b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", b"Content-Length: -1\r\n\r\n{}",
    b"Content-Length: 9999999999999999999999\r\n\r\n{}", b"Content-Length: 0x2\r\n\r\n{}",
    b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}", b"no colon\r\n\r\n{}",
    b": no name\r\n\r\n{}", b"A: b\r\n c\r\n d\r\n\r\n{}", b"A\0: b\r\n\r\n{}",
    b"A: b\0c\r\n\r\n{}",
    b"X: " + b"y" * 1_000_000 + b"\r\n\r\n{}", b"X: y\r\n" * 5_000 + b"\r\n{}", b"\n\n{}",
    b"Content-Length: 5\r\n\r\n{}", b"\xff: \xff\r\n\r\n{}", b"Content-Length: \xd9\xa2\r\n\r\n{}",
)  # fmt: skip
"""Text after a status line that can be misread."""
CHUNKS: Final = (
    b"zz\r\n{}\r\n0\r\n\r\n", b"-2\r\n{}\r\n0\r\n\r\n", b"ffffffffffffffff\r\n{}", b"2\r\n{}",
    b"2\r\n{}{}\r\n0\r\n\r\n", b"2;" + b"e" * 100_000 + b"\r\n{}\r\n0\r\n\r\n", b"\r\n\r\n",
    b"2\r\n{}\r\n0\r\nX: y\r\n" * 50, b"0" * 200_000 + b"2\r\n{}\r\n0\r\n\r\n", b"2\n{}\n0\n\n",
    b"1\r\n{\r\n" * 20_000, b"2\r\n{}\r\n0\r\n",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer."""

    kind: str
    """Name of the kind, for the report."""
    pieces: Iterable[bytes | float]
    """Bytes to send, and seconds to pause."""
    status: int | None = None
    """The status in its last status line; None: it has none that can be read."""
    body: bytes = b""
    """The part of a body that a reader may act on."""
    whole: bool = False
    """True: it is plain HTTP from the first to the last byte, and must be understood."""
    reset: bool = False
    keep: bool = False
    """Whether the connection stays open after it."""


def plain(status: int, body: bytes = b"", *, kind: str = "good", **headers: str) -> Answer:
    """Returns a whole answer, correct except for what its parts contain."""
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    head = "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"
    keep = kind == "good"
    return Answer(kind, [head + body], status, body, whole=True, keep=keep)


class Hostile:
    """Makes hostile answers from a seed."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)  # noqa: S311 (not a secret)
        self._makers: list[Callable[[tuple[Any, ...]], Answer]] = [
            self._shaped, self._status, self._header, self._typed, self._huge, self._drip,
            self._reset, self._chunked, self._informational, self._smuggled, self._no_head,
            self._twisted,
        ]  # fmt: skip
        self._weights = (40, 12, 10, 6, 1, 1, 8, 6, 2, 5, 5, 4)

    def answer(self, samples: tuple[Any, ...]) -> Answer:
        """Return any answer; `samples` are what a good one contains here."""
        (make,) = self.dice.choices(self._makers, self._weights)
        return make(samples)

    def _shaped(self, samples: tuple[Any, ...]) -> Answer:
        """JSON that looks right, with wrong shapes, numbers, texts and depths in it."""
        body = self._body(samples)
        if self.dice.random() < 0.1:
            body = body.replace(
                b"1", self.dice.choice((b"NaN", b"-Infinity", b"1e999", b"9" * 400))
            )
        return plain(self.dice.choice((200, 200, 200, 201, 202, 400, 500)), body, kind="shape")

    def _status(self, samples: tuple[Any, ...]) -> Answer:
        status = self.dice.choice(STATUSES)
        body = b"" if status in {204, 205, 304} else self._body(samples)
        return plain(status, body, kind="status", Location=self.dice.choice(LOCATIONS))

    def _header(self, samples: tuple[Any, ...]) -> Answer:
        status = self.dice.choice((200, 301, 400, 429, 503, 503))
        name, value = self.dice.choice(HEADERS)
        more = {"Retry-After": self.dice.choice(RETRY_AFTER), name: value}
        found = plain(status, self._body(samples), kind="header", **more)
        # Some of these change how the rest is to be read.
        odd = name in {"Transfer-Encoding", "Connection", "Upgrade"}
        return Answer(found.kind, found.pieces, status, found.body, whole=not odd)

    def _typed(self, samples: tuple[Any, ...]) -> Answer:
        body = self.dice.choice(
            (b"\xff\xfe\x00", b"\x1f\x8b\x08" + b"\0" * 50, self._body(samples))
        )
        return plain(200, body, kind="type", Content_Type=self.dice.choice(TYPES))

    def _huge(self, samples: tuple[Any, ...]) -> Answer:
        """More than a client should read, with a length, in chunks or to the end."""
        head = self.dice.choice(
            (
                b"HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\n",
                b"HTTP/1.1 200 OK\r\n\r\n",
                b"HTTP/1.1 503 X\r\nContent-Length: 209715200\r\n\r\n",
            )
        )
        status = int(head[9:12])
        return Answer("huge", itertools.chain([head], [PIECE] * PIECES_MAX), status)

    def _drip(self, samples: tuple[Any, ...]) -> Answer:
        """A byte now and then, of the head or of the body."""
        whole = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
        if self.dice.random() < 0.5:
            return Answer("drip", _dripped(whole))
        return Answer("drip", itertools.chain([whole], _dripped(b" " * DRIPS_MAX)), 200)

    def _reset(self, samples: tuple[Any, ...]) -> Answer:
        """Cut off anywhere, mostly in the middle of the body."""
        body = self._body(samples) or b"{}"
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body) + 10}\r\n\r\n".encode()
        cut = self.dice.choice((0, 5, len(head) - 3, len(head), len(head) + len(body) // 2, 10**9))
        status = 200 if cut >= len(head) else None
        sent = (head + body)[:cut]
        reset = self.dice.random() < 0.7
        return Answer("reset", [sent], status, body if cut >= len(head) else b"", reset=reset)

    def _chunked(self, samples: tuple[Any, ...]) -> Answer:
        head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        return Answer("chunk", [head, self.dice.choice(CHUNKS)], 200)

    def _informational(self, samples: tuple[Any, ...]) -> Answer:
        """Interim answers without an end, or very many and then a final one."""
        interim = self.dice.choice((b"100 Continue", b"102 X", b"103 Early Hints", b"199 X"))
        one = b"HTTP/1.1 " + interim + b"\r\nLink: </x>\r\n\r\n"
        if self.dice.random() < 0.3:
            return Answer("interim", itertools.repeat(one * 500, 500))
        if self.dice.random() < 0.3:
            switch = (
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"
            )
            return Answer("interim", [switch, PAUSE_S, b"x" * 100])
        final = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
        return Answer("interim", [one * self.dice.choice((1, 50, 5_000)), final], 200, b"{}")

    def _smuggled(self, samples: tuple[Any, ...]) -> Answer:
        """A refusal, and behind it a success that must not answer the next request."""
        refusal = b"HTTP/1.1 500 X\r\nContent-Length: 2\r\n\r\n{}"
        body = json.dumps(samples[0]).encode() if samples else b""
        second = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
        late = [PAUSE_S] if self.dice.random() < 0.5 else []
        return Answer("smuggled", [refusal, *late, second], 500, b"{}", keep=True)

    def _no_head(self, samples: tuple[Any, ...]) -> Answer:
        return Answer("no head", [self.dice.choice(HEADS)], reset=self.dice.random() < 0.2)

    def _twisted(self, samples: tuple[Any, ...]) -> Answer:
        status = self.dice.choice((200, 200, 503))
        head = f"HTTP/1.1 {status} X\r\n".encode()
        return Answer("twisted", [head, self.dice.choice(TWISTED)], status, b"{}")

    def _body(self, samples: tuple[Any, ...]) -> bytes:
        return mutated(self.dice, samples) if samples else self.dice.randbytes(20)


def _dripped(text: bytes) -> Iterator[bytes | float]:
    for byte in text:
        yield bytes([byte])
        yield PAUSE_S
