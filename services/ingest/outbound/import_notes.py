"""The notes of an import, in a small file beside the files that are imported.

They hold how many events the broker has acknowledged, in the order in which these files are read
with these options. With other files or options an import begins anew; its events have the same ids,
so that sending some again is harmless.
"""

import fcntl
import json
import os
import weakref
from collections.abc import Callable, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Annotated, Final

import msgspec
import polars as pl

from shared.kernel.errors import Invalid

EDGE_BYTES: Final = 1024 * 1024
"""Bytes hashed at the beginning and at the end of a file: hashing 10 GB would take half a minute,
and an export that changed has another size or another end."""
STEM_CHARS_MAX: Final = 60
"""Characters of a file's name in the name of its import."""

NAME_BYTES_MAX: Final = 200
"""Bytes of a file's name in the name of its notes; file systems take 255 with what is added."""


class _Kept(msgspec.Struct):
    """The content of the file; broken, or not of this form, it is as if there were none."""

    mark: str = ""
    run: Annotated[int, msgspec.Meta(ge=1)] = 1
    begun: list[str] = []
    acknowledged: Annotated[int, msgspec.Meta(ge=0)] = 0
    digest: str = ""


class ImportNotes:
    """The notes of one import; `finish` removes them."""

    def __init__(self, paths: Sequence[Path], options: str, folder: Path) -> None:
        """Read the notes of an earlier run, where they belong to the same files and options.

        The first file stays locked until `close`, or the end of the process: two imports of it
        would end each other. Raises Invalid where it is locked, or the folder cannot be written.
        """
        self._unlock = _lock(paths[0], self)
        content = blake2b(digest_size=8)
        for path in paths:
            content.update(_edges(path))
        self._mark = blake2b(
            json.dumps([
                content.hexdigest(), options, pl.__version__,
                [(path.name, path.stat().st_mtime_ns) for path in paths],
            ]).encode(), digest_size=8,
        ).hexdigest()  # fmt: skip
        stem = paths[0].name.partition(".")[0][:STEM_CHARS_MAX]
        self._base = f"{stem}-{content.hexdigest()[:8]}"
        self._path = _notes_of(paths[0], folder)
        kept = _read(self._path)
        self._begun = kept.begun
        same = kept.mark == self._mark
        self._acknowledged = kept.acknowledged if same else 0
        self._digest = kept.digest if same else ""
        run = kept.run if same else 1
        # A name that has ended no longer pauses the sweep: the rest needs another one.
        self._run = run + 1 if self._acknowledged and self.named(run) not in self._begun else run
        self._write()

    @property
    def name(self) -> str:
        """Return the name of the import in the header of its records."""
        return self.named(self._run)

    def named(self, run: int) -> str:
        """Return the name of the import's first, second, … run."""
        return self._base if run == 1 else f"{self._base}.{run}"

    @property
    def acknowledged(self) -> int:
        """Return how many events of the files, in their order, need not be sent again."""
        return self._acknowledged

    @property
    def digest(self) -> str:
        """Return the digest that these events had, as `acknowledge` received it."""
        return self._digest

    def begin(self) -> None:
        """Note that records of this name are about to be sent."""
        if self.name not in self._begun:
            self._begun.append(self.name)
            self._write()

    def acknowledge(self, events: int, digest: str) -> None:
        """Note that so many events of the files were acknowledged, and the digest of them all."""
        self._acknowledged, self._digest = events, digest
        self._write()

    def begun(self) -> list[str]:
        """Return the names of the imports that were begun and not ended."""
        return list(self._begun)

    def end(self) -> None:
        """Note that all imports begun have ended."""
        if self._begun:
            self._begun = []
            self._write()

    def finish(self) -> None:
        """Remove the notes: everything was sent."""
        self._path.unlink(missing_ok=True)

    def close(self) -> None:
        """Let other processes import the files; the notes stay."""
        self._unlock()

    def _write(self) -> None:
        notes = _Kept(self._mark, self._run, self._begun, self._acknowledged, self._digest)
        draft = self._path.with_suffix(".new")
        try:
            draft.write_bytes(msgspec.json.encode(notes))
            os.replace(draft, self._path)  # noqa: PTH105 (replaces a file that is there)
        except OSError as error:
            raise Invalid(
                "--folder", f"{self._path.parent} cannot be written ({error.strerror}): name a "
                "folder for the rejected rows and the notes of the import"
            ) from error  # fmt: skip


def unended(path: Path, folder: Path) -> list[str]:
    """Return the imports of this file that have no end marker yet, before it is read again."""
    return _read(_notes_of(path, folder)).begun


def _notes_of(path: Path, folder: Path) -> Path:
    """Return the notes of an import that begins with the file `path`."""
    name = path.name
    if len(os.fsencode(name)) > NAME_BYTES_MAX:
        name = blake2b(os.fsencode(name), digest_size=8).hexdigest()
    return folder / f".{name}.import.json"


def _read(path: Path) -> _Kept:
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Kept)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _Kept()


def _lock(path: Path, owner: object) -> Callable[[], object]:
    """Lock a file until `owner` is gone or the returned function is called.

    Raises Invalid where another process has locked it.
    """
    file = os.open(path, os.O_RDONLY)
    unlock = weakref.finalize(owner, os.close, file)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise Invalid(
            "events", f"{path.name} is being imported by another process: wait for its end"
        ) from None
    except OSError:
        pass  # a file system without locks
    return unlock


def _edges(path: Path) -> bytes:
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(EDGE_BYTES)
        file.seek(max(0, size - EDGE_BYTES))
        return b"%d\0%b\0%b" % (size, head, file.read(EDGE_BYTES))
