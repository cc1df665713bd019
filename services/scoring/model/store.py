"""Stores model artefacts in a local folder or an object store, each named by its SHA-256.

An artefact is written once and never changed: an address always means the same model. Which model
is in use is not known here; that is a row in scoring's database.
"""

import hashlib
import os
import tempfile
from pathlib import Path
from typing import Any

import fsspec

from shared.kernel.errors import Invalid, Transient

ADDRESS_LENGTH = 64
"""Hex digits of a SHA-256."""


def address(data: bytes) -> str:
    """Return the content address of an artefact: its SHA-256, 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


class ArtefactStore:
    """Artefacts in a local folder, created at the first write, or under any fsspec URL.

    `s3://bucket/models`, `gs://…`, `az://…`, `sftp://…` need the fsspec package of their kind
    installed, which also handles credentials. Raises Invalid, naming the package, where it is
    missing.
    """

    def __init__(self, place: Path | str) -> None:
        self._remote: Any = None
        self._place = str(place)
        if "://" in self._place and not self._place.startswith("file://"):
            try:
                self._remote, self._root = fsspec.core.url_to_fs(self._place)
            except (ImportError, ValueError) as error:
                raise Invalid("model_store", f"{self._place}: {error}") from error
        else:
            self._folder = Path(self._place.removeprefix("file://"))

    def put(self, data: bytes) -> str:
        """Store these bytes and return their address. Idempotent.

        A reader sees the whole file or none, also across a crash; an object store shows an object
        only when it is complete. Raises Transient where a remote store cannot be reached.
        """
        name = address(data)
        if self._remote is None:
            self._put_local(name, data)
        else:
            try:
                self._remote.makedirs(self._root, exist_ok=True)
                self._remote.pipe_file(f"{self._root}/{_file(name)}", data)
            except OSError as error:
                raise Transient(f"model store {self._place}: {error}") from error
        return name

    def get(self, name: str) -> bytes:
        """Return the bytes at an address.

        Raises Invalid if they are missing or do not match the address, Transient where a remote
        store cannot be reached.
        """
        file = _file(name)
        try:
            if self._remote is None:
                data = (self._folder / file).read_bytes()
            else:
                data = bytes(self._remote.cat_file(f"{self._root}/{file}"))
        except FileNotFoundError:
            raise Invalid("artefact", f"{name} is not in {self._place}") from None
        except OSError as error:
            if self._remote is None:
                raise
            raise Transient(f"model store {self._place}: {error}") from error
        found = address(data)
        if found != name:
            raise Invalid("artefact", f"{name} is damaged: its bytes hash to {found}")
        return data

    def _put_local(self, name: str, data: bytes) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=self._folder, prefix=".", suffix=".part")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(self._folder / _file(name))
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        _sync_folder(self._folder)


def _file(name: str) -> str:
    if len(name) != ADDRESS_LENGTH or not set(name) <= set("0123456789abcdef"):
        raise Invalid("artefact", "an address is 64 lower-case hex digits")
    return f"{name}.json"


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
