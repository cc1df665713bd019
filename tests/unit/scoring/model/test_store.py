"""The artefact folder: content-addressed, verified, whole or absent."""

from pathlib import Path

import fsspec
import pytest

from services.scoring.model.store import ArtefactStore, address
from shared.kernel.errors import Invalid, Transient


def test_what_is_put_is_got_by_its_address(tmp_path: Path) -> None:
    store = ArtefactStore(tmp_path / "models")
    name = store.put(b"trees")
    assert name == address(b"trees")
    assert store.get(name) == b"trees"


def test_putting_twice_is_the_same(tmp_path: Path) -> None:
    store = ArtefactStore(tmp_path)
    assert store.put(b"trees") == store.put(b"trees")
    assert len(list(tmp_path.iterdir())) == 1


def test_damage_is_noticed(tmp_path: Path) -> None:
    store = ArtefactStore(tmp_path)
    name = store.put(b"trees")
    (tmp_path / f"{name}.json").write_bytes(b"treez")
    with pytest.raises(Invalid, match="damaged"):
        store.get(name)


def test_a_missing_artefact_is_named(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="is not in"):
        ArtefactStore(tmp_path).get(address(b"other"))


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "A" * 64, "g" * 64])
def test_only_an_address_is_an_address(tmp_path: Path, name: str) -> None:
    with pytest.raises(Invalid, match="64 lower-case hex digits"):
        ArtefactStore(tmp_path).get(name)


def test_a_write_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("services.scoring.model.store.os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        ArtefactStore(tmp_path).put(b"trees")
    assert list(tmp_path.iterdir()) == []


def test_any_url_of_fsspec_is_a_store() -> None:
    """Storing, loading by address, detecting damage and naming an absence work as in a folder."""
    place = "memory://models-of-a-test"
    store = ArtefactStore(place)
    name = store.put(b"trees")
    assert store.put(b"trees") == name
    assert ArtefactStore(place).get(name) == b"trees"
    fsspec.filesystem("memory").pipe_file(f"/models-of-a-test/{name}.json", b"treez")
    with pytest.raises(Invalid, match="damaged"):
        store.get(name)
    with pytest.raises(Invalid, match="is not in memory://"):
        store.get(address(b"other"))


def test_a_store_whose_package_is_missing_is_named() -> None:
    with pytest.raises(Invalid, match=r"model_store: nosuch://bucket"):
        ArtefactStore("nosuch://bucket/models")


def test_trouble_with_a_remote_store_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object, **__: object) -> None:
        raise ConnectionResetError("the store is away")

    store = ArtefactStore("memory://models-of-another-test")
    monkeypatch.setattr(type(fsspec.filesystem("memory")), "pipe_file", away)
    monkeypatch.setattr(type(fsspec.filesystem("memory")), "cat_file", away)
    with pytest.raises(Transient, match="memory://models-of-another-test"):
        store.put(b"trees")
    with pytest.raises(Transient):
        store.get(address(b"trees"))


def test_a_file_url_is_a_folder(tmp_path: Path) -> None:
    name = ArtefactStore(f"file://{tmp_path}").put(b"trees")
    assert ArtefactStore(tmp_path).get(name) == b"trees"
