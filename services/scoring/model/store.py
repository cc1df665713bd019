"""Where model artefacts lie: one folder, each file named by the SHA-256 of its bytes.

Written once, never changed: an address always means the same model. It does not know which
model is in use; that is a row in scoring's database.
"""

import hashlib
import os
import tempfile
from pathlib import Path

from shared.kernel.errors import Invalid

ADDRESS_LENGTH = 64
"""Hex digits of a SHA-256."""


def address(data: bytes) -> str:
    """The content address of an artefact: its SHA-256, 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


class ArtefactStore:
    """Artefacts in a local folder, which is made when it is first written to."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, data: bytes) -> str:
        """Keep these bytes and return their address. Keeping them twice is the same.

        A reader sees the whole file or none, also across a crash.
        """
        name = address(data)
        self._folder.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=self._folder, prefix=".", suffix=".part")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(self._path(name))
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        _sync_folder(self._folder)
        return name

    def get(self, name: str) -> bytes:
        """The bytes at an address. Raises Invalid if they are missing or not what it names."""
        try:
            data = self._path(name).read_bytes()
        except FileNotFoundError:
            raise Invalid("artefact", f"{name} is not in {self._folder}") from None
        found = address(data)
        if found != name:
            raise Invalid("artefact", f"{name} is damaged: its bytes hash to {found}")
        return data

    def _path(self, name: str) -> Path:
        if len(name) != ADDRESS_LENGTH or not set(name) <= set("0123456789abcdef"):
            raise Invalid("artefact", "an address is 64 lower-case hex digits")
        return self._folder / f"{name}.json"


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
