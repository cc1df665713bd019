"""Finds what a file is by its first bytes, and unpacks gzip, Zstandard and zip as a stream.

The name does not count: an export called `.csv` may be a spreadsheet. A small file that unpacks
without end is refused (`RATIO_MAX`). Text is not decoded here.
"""

import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final, Literal

import pyarrow as pa

from shared.kernel.errors import Invalid

Kind = Literal["text", "gzip", "zstd", "zip", "parquet", "sheet"]
RATIO_MAX: Final = 200
"""Bytes that one packed byte may become: exports come to 5 to 50."""
UNPACKED_FREE_BYTES: Final = 1024 * 1024 * 1024
"""Unpacked bytes below which the ratio does not count: a test file of equal rows is no attack."""
HEAD_BYTES: Final = 8
_MAGIC: Final[tuple[tuple[bytes, Kind], ...]] = (
    (b"\x1f\x8b", "gzip"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"PAR1", "parquet"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "sheet"),
)
_SHEET_PARTS: Final = frozenset({"[Content_Types].xml", "content.xml"})
"""Members of the zip archives that `.xlsx`, `.xlsb` and `.ods` are."""
_PASSWORD: Final = 0x1
"""Flag of a zip archive's member that is encrypted."""
_MISTAKES: Final = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, pa.ArrowException, EOFError, OSError,
    NotImplementedError,
)  # fmt: skip
"""What the libraries raise for a file that is broken or packed in a way they do not know."""


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Within the block, a file that is missing or broken raises Invalid with its name."""
    try:
        yield
    except _MISTAKES as error:
        raise Invalid("events", f"{path.name} cannot be read: {error}") from error


def kind_of(path: Path) -> Kind:
    """Return what the first bytes show. Raises Invalid when the file cannot be read."""
    with readable(path):
        with path.open("rb") as file:
            found = _kind(file.read(HEAD_BYTES))
        if found == "zip" and _SHEET_PARTS & set(_archive(path).namelist()):
            return "sheet"
    return found


def unpacked(path: Path) -> IO[bytes]:
    """Open the text of a file, unpacked. Raises Invalid for an archive of several files."""
    size = path.stat().st_size
    match kind_of(path):
        case "gzip":
            return _bounded(gzip.open(path, "rb"), size, path)
        case "zstd":
            stream: Any = pa.CompressedInputStream(pa.OSFile(str(path)), "zstd")
            return _bounded(stream, size, path)
        case "zip":
            archive = _archive(path)
            member = _only_member(archive, path)
            return _bounded(archive.open(member), member.compress_size, path)
        case _:
            return path.open("rb")


def _kind(head: bytes) -> Kind:
    for magic, kind in _MAGIC:
        if head.startswith(magic):
            return kind
    return "zip" if head.startswith((b"PK\x03\x04", b"PK\x05\x06")) else "text"


def _archive(path: Path) -> zipfile.ZipFile:
    with readable(path):
        return zipfile.ZipFile(path)


def _only_member(archive: zipfile.ZipFile, path: Path) -> zipfile.ZipInfo:
    files = [
        member
        for member in archive.infolist()
        if not member.is_dir() and not member.filename.startswith("__MACOSX/")
    ]
    if len(files) != 1:
        raise Invalid(
            "events", f"{path.name} holds {len(files)} files: unpack it and name the files"
        )
    if files[0].flag_bits & _PASSWORD:
        raise Invalid("events", f"{path.name} has a password: unpack it and name the file in it")
    return files[0]


class _Bounded(io.RawIOBase):
    """A stream that ends in Invalid where it unpacks to far more than a file of orders can."""

    def __init__(self, inner: Any, size: int, path: Path) -> None:
        self._inner = inner
        self._path = path
        self._begun = False
        self._left = max(UNPACKED_FREE_BYTES, size * RATIO_MAX)

    def readable(self) -> bool:
        return True

    def readinto(self, target: Any) -> int:
        data = self._inner.read(memoryview(target).nbytes)
        if not self._begun and (kind := _kind(data[:HEAD_BYTES])) != "text":
            raise Invalid("events", f"{self._path.name} is a packed {kind} file: unpack it first")
        self._begun = True
        self._left -= len(data)
        if self._left < 0:
            raise Invalid(
                "events",
                f"{self._path.name} unpacks to more than {RATIO_MAX} times its size, which no "
                "file of orders does: unpack it and look at what is in it",
            )
        memoryview(target)[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._inner.close()
        super().close()


def _bounded(inner: Any, size: int, path: Path) -> IO[bytes]:
    return io.BufferedReader(_Bounded(inner, size, path), buffer_size=1024 * 1024)
