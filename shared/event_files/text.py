"""Reads a text file as blocks of whole records in UTF-8, whatever its size, packing or encoding.

Serves CSV and JSON Lines in bounded memory. A record ends at a line end outside quotation marks, so
that a note of two lines stays one field. Fields are not interpreted.
"""

import codecs
import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final, Literal

from shared.event_files.encoding import HEAD_BYTES, codec_of
from shared.event_files.packing import readable, unpacked
from shared.kernel.errors import Invalid

BLOCK_BYTES: Final = 16 * 1024 * 1024
"""Bytes read at once: about 300,000 rows, 100 MB while they become columns."""
RECORD_BYTES_MAX: Final = 64 * 1024 * 1024
"""A larger record is an error: a quotation mark that was never closed."""
DELIMITERS: Final = ",;\t|"
SEPARATOR_LINE: Final = re.compile(rb'^"?sep=(.)"?\r?\n', re.IGNORECASE)
"""Line that Excel writes before the header."""
_ARRAY: Final = re.compile(r"\s*\[\s*(\{|$)")
_MARKUP: Final = re.compile(r"\s*<(!doctype|html|\?xml|table|meta)", re.IGNORECASE)
"""Beginnings of files that shops call `.xls` and that are web pages."""


class TextFile:
    """One text file; `blocks` may be called any number of times."""

    def __init__(
        self, path: Path, encoding: str | None, form: Literal["csv", "jsonl"] | None = None
    ) -> None:
        """Find the encoding and the format where they are not given.

        Raises Invalid naming a file for which they cannot be decided.
        """
        self._path = path
        self.encoding = _codec(encoding) or codec_of(self._head(), self._raw, path.name)
        head = codecs.getincrementaldecoder(self.encoding)("replace").decode(self._head())
        self.format = form or _format(head, path.name)
        self._only_returns = "\r" in head and "\n" not in head  # as on an old Mac

    def blocks(self) -> Iterator[bytes]:
        """Yield UTF-8 without a byte order mark; each block ends where a record does."""
        rest = b""
        for text in self._decoded():
            rest += text
            end = self._last_end(rest)
            if end:
                yield rest[:end]
                rest = rest[end:]
            elif len(rest) > RECORD_BYTES_MAX:
                raise Invalid("events", f"{self._path.name}: a quotation mark is never closed")
        if self.format == "csv" and rest.count(b'"') % 2:
            raise Invalid("events", f"{self._path.name}: a quotation mark is never closed")
        if rest.strip():
            yield rest

    def _decoded(self) -> Iterator[bytes]:
        if self.encoding == "utf-8":
            yield from self._line_ends(self._raw())
            return
        decoder = codecs.getincrementaldecoder(self.encoding)()
        try:
            yield from self._line_ends(decoder.decode(raw).encode() for raw in self._raw())
            yield decoder.decode(b"", final=True).encode()
        except UnicodeError as error:
            raise Invalid("encoding", f"{self._path.name} is not {self.encoding}") from error

    def _line_ends(self, blocks: Iterator[bytes]) -> Iterator[bytes]:
        lines = 1
        for block in blocks:
            if (at := block.find(b"\0")) >= 0:
                line = lines + block.count(b"\n", 0, at)
                raise Invalid(
                    "events", f"{self._path.name} is no text: it has zero bytes (the first in line "
                    f"{line}): export it again"
                )  # fmt: skip
            lines += block.count(b"\n")
            yield block.replace(b"\r", b"\n") if self._only_returns else block

    def _last_end(self, data: bytes) -> int:
        """Return the position after the last line end outside quotation marks; 0 without one."""
        at = data.rfind(b"\n")
        if self.format == "jsonl":
            return at + 1
        open_quotes = data.count(b'"') % 2
        end = len(data)
        while at >= 0:
            open_quotes ^= data.count(b'"', at, end) % 2
            if not open_quotes:
                return at + 1
            at, end = data.rfind(b"\n", 0, at), at
        return 0

    def _head(self) -> bytes:
        return next(self._raw(HEAD_BYTES), b"")

    def _raw(self, size: int = 0) -> Iterator[bytes]:
        with readable(self._path), closing(unpacked(self._path)) as file:
            while block := file.read(size or BLOCK_BYTES):
                yield block


def _format(head: str, file: str) -> Literal["csv", "jsonl"]:
    """Decide by the first characters, whatever the name is."""
    if _ARRAY.match(head):
        raise Invalid(
            "events", f"{file} is one JSON array: write each event on a line (jq -c '.[]')"
        )
    if _MARKUP.match(head):
        raise Invalid(
            "events", f"{file} is a web page or XML: open it in a spreadsheet program and save it "
            "as .xlsx or CSV"
        )  # fmt: skip
    return "jsonl" if head.lstrip().startswith("{") else "csv"


def _codec(given: str | None) -> str | None:
    if given is None:
        return None
    try:
        name = codecs.lookup(given).name
        b"".decode(name)
    except LookupError:
        raise Invalid("--encoding", f"{given!r} is no encoding that is known here") from None
    return "utf-8-sig" if name == "utf-8" else name


def head_end(block: bytes) -> int:
    """Return where the first record ends; the block holds whole records.

    >>> head_end(b'id,"a\\nb"\\n1,2\\n')
    9
    """
    begin, inside = 0, 0
    while (at := block.find(b"\n", begin)) >= 0:
        inside ^= block.count(b'"', begin, at) % 2
        if not inside:
            return at + 1
        begin = at + 1
    return len(block)


def delimiter_of(head: str) -> str:
    """Return the delimiter that occurs most often in a header, outside quotation marks.

    >>> delimiter_of('customer;"Name, first";ts')
    ';'
    """
    bare = re.sub(r'"[^"]*"', "", head)
    return max(DELIMITERS, key=bare.count)
