"""Decompresses a gzip body piece by piece, with bounds on its size and on its ratio.

A small body can hold a large one (1 MB of gzip up to 1 GB), so at no time is more decompressed than
the route may take.
"""

import zlib
from typing import Final

from shared.kernel.errors import Invalid

RATIO_MAX: Final = 100
"""Decompressed bytes for each compressed one: events compress 5 to 30 times, a body made to fill
memory up to 1,032 times."""

RATIO_FREE_BYTES: Final = 64 * 1024
"""Decompressed bytes to which the ratio does not apply: a few equal events compress well too."""

MEMBERS_MAX: Final = 100
"""Members of one body: a client writes one, `cat` of compressed files a few."""

_GZIP: Final = zlib.MAX_WBITS | 16


class TooLarge(Exception):  # noqa: N818 (a kind of input, as `Invalid`)
    """A body is larger than its bounds once it is decompressed; the text names the bound."""


class Inflating:
    """One body. Use: `add` each piece, then `end`."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._stream = zlib.decompressobj(_GZIP)
        self._taken = 0
        self._given = 0
        self._members = 1

    def add(self, piece: bytes) -> bytes:
        """Return what a piece becomes; raises TooLarge, or Invalid where it is not gzip."""
        self._taken += len(piece)
        found = bytearray()
        while piece:
            if self._stream.eof:  # another member follows, as after `cat a.gz b.gz`
                self._members += 1
                if self._members > MEMBERS_MAX:
                    raise Invalid("body", f"more than {MEMBERS_MAX} members of gzip")
                self._stream = zlib.decompressobj(_GZIP)
            room = self._bytes_max - self._given
            try:
                inflated = self._stream.decompress(piece, room + 1)
            except zlib.error as error:
                raise Invalid("body", f"not gzip: {error}") from None
            self._given += len(inflated)
            self._check()
            found += inflated
            piece = self._stream.unused_data if self._stream.eof else self._stream.unconsumed_tail
        return bytes(found)

    def end(self) -> None:
        """Raise Invalid where the body ends early."""
        if self._taken and not self._stream.eof:
            raise Invalid("body", "not gzip: it ends early")

    def _check(self) -> None:
        if self._given > self._bytes_max:
            raise TooLarge(f"send at most {self._bytes_max:,} bytes at once, decompressed")
        if self._given > max(RATIO_FREE_BYTES, RATIO_MAX * self._taken):
            raise TooLarge(f"decompressed it is more than {RATIO_MAX} times as large")
