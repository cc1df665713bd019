"""Finds the encoding of a text file by all of its bytes, or refuses the file.

A wrong guess could merge two customers without a trace, so a doubtful file is refused. UTF-16 shows
in its zero bytes; UTF-8 either fits or does not; Chinese in GBK comes in pairs of high bytes of the
common characters (GB 2312), western text in single high bytes between letters.
"""

import codecs
from collections.abc import Callable, Iterable
from typing import Final

import numpy as np

from shared.kernel.errors import Invalid

HIGH: Final = 0x80
"""The least byte that is not ASCII."""
HEAD_BYTES: Final = 4_096
"""Bytes in which UTF-16 shows its zero bytes: the header and some rows."""
ASCII_SHARE: Final = 0.1
"""Least share of ASCII among UTF-16's characters in the head: digits and delimiters."""
PLAUSIBLE_SHARE: Final = 0.9
"""Least share of common characters in a GBK file: rare ones occur in a few names."""
PLAIN_SHARE: Final = 0.6
"""Least share of first-level characters and marks in a GBK file: Russian in Windows-1251, read as
GBK, has hardly any."""
SECOND_LEVEL: Final = 0xD8
"""First byte of the second level of GB 2312, the less common characters."""
SINGLE_SHARE: Final = 0.8
"""Least share of one-byte runs among a western file's runs of high bytes."""
NO_CP1252: Final = (0x81, 0x8D, 0x8F, 0x90, 0x9D)
"""Bytes without a character in Windows-1252."""
_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def marked(head: bytes) -> str | None:
    """Return the codec that the first bytes show, or None.

    >>> marked(b"\\xef\\xbb\\xbfid"), marked("id\\n".encode("utf-16-le")), marked(b"id\\n")
    ('utf-8-sig', 'utf-16-le', None)
    """
    for mark, codec in _MARKS:
        if head.startswith(mark):
            return codec
    for codec, order in (("utf-16-le", "<u2"), ("utf-16-be", ">u2")):
        pairs = np.frombuffer(head[: len(head) // 2 * 2], order)
        if (pairs == ord("\n")).any() and (pairs < HIGH).mean() >= ASCII_SHARE:
            return codec
    return None


def codec_of(head: bytes, blocks: Callable[[], Iterable[bytes]], file: str) -> str:
    """Find the codec of a file by its first HEAD_BYTES and by all of its blocks, from the first on.

    Raises Invalid when no codec, or more than one, fits.
    """
    if (codec := marked(head)) is not None:
        return codec
    utf8 = _Fits("utf-8")
    for tried in ((utf8,), (_Chinese(), _Western())):
        for block in blocks():
            for one in tried:
                one.see(block)
        fits = [one.codec for one in tried if one.ends()]
        if len(fits) == 1:
            return fits[0]
    raise Invalid(
        "encoding",
        f"{file} is not UTF-8 (line {utf8.lines + 1} is the first that is not), and what else it "
        "is cannot be decided: save it as UTF-8, or name the encoding with --encoding",
    )


class _Fits:
    """Checks whether bytes are text of a codec."""

    def __init__(self, codec: str) -> None:
        self.codec = codec
        self._decoder = codecs.getincrementaldecoder(codec)()
        self._fits = True
        self.lines = 0
        """Lines that fitted."""

    def decoded(self, block: bytes, *, final: bool = False) -> str:
        """Return the text of a block; an empty text once a byte did not fit."""
        if self._fits:
            try:
                text = self._decoder.decode(block, final)
            except UnicodeDecodeError as error:
                self._fits = False
                self.lines += error.object.count(b"\n", 0, error.start)
            else:
                self.lines += block.count(b"\n")
                return text
        return ""

    def see(self, block: bytes) -> None:
        """Check the next block."""
        self.decoded(block)

    def ends(self) -> bool:
        """Return whether all bytes fitted and the last character is complete."""
        self.decoded(b"", final=True)
        return self._fits


class _Chinese(_Fits):
    """Checks for GB 18030 text of common characters."""

    def __init__(self) -> None:
        super().__init__("gb18030")
        self._all = self._common = self._plain = 0

    def see(self, block: bytes) -> None:
        # Signs of money that GB 2312 lacks: one in each row does not rule out Chinese.
        text = self.decoded(block).replace("¥", "").replace("£", "")
        if not text.isascii():
            self._all += len(text) - len(text.encode("ascii", "ignore"))
            found = np.frombuffer(text.encode("gb2312", "ignore"), np.uint8)
            first = found[found >= HIGH][::2]
            self._common += len(first)
            self._plain += int((first < SECOND_LEVEL).sum())

    def ends(self) -> bool:
        plausible = self._common >= PLAUSIBLE_SHARE * self._all
        return super().ends() and plausible and self._plain >= PLAIN_SHARE * self._all


class _Western:
    """Checks for Windows-1252 text, of which Latin-1 is the printable part."""

    codec = "cp1252"

    def __init__(self) -> None:
        self._defined = True
        self._runs = self._single = 0

    def see(self, block: bytes) -> None:
        found = np.frombuffer(block, np.uint8)
        self._defined = self._defined and not np.isin(NO_CP1252, found).any()
        edges = np.flatnonzero(np.diff(np.concatenate([[False], found >= HIGH, [False]])))
        lengths = edges[1::2] - edges[::2]
        self._runs += len(lengths)
        self._single += int((lengths == 1).sum())

    def ends(self) -> bool:
        return self._defined and self._single >= SINGLE_SHARE * self._runs
