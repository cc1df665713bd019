"""Building images: what a build is given, and what it asks of the machine."""

import os
import shutil
from pathlib import Path

import pytest

from deploy.images import build, tools
from deploy.local.stack import ROOT


def test_a_build_reaches_packages_as_pip_does_here(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    authorities = tmp_path / "authorities.pem"
    authorities.write_text("certificate")
    monkeypatch.setenv("PIP_INDEX_URL", "https://mirror.example/simple")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    monkeypatch.setenv("PIP_CERT", str(authorities))
    options = build.pip_secrets(tmp_path)
    written = tmp_path / "pip.conf"
    lines = written.read_text().splitlines()
    assert "index-url = https://mirror.example/simple" in lines
    assert "cert = /run/secrets/ca.pem" in lines
    assert not any("find-links" in line for line in lines)  # a folder of this machine
    assert written.stat().st_mode & 0o077 == 0
    assert options == [
        *("--secret", f"id=pip.conf,src={written}"),
        *("--secret", f"id=ca.pem,src={authorities}"),
    ]


def test_a_missing_tool_is_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None if name == "runc" else name)
    with pytest.raises(tools.ImagesError, match=r"^runc is not here: apt-get install"):
        tools.require()


def test_building_needs_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: name)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(tools.ImagesError, match="needs root"):
        tools.require()


def test_a_failed_command_shows_the_end_of_its_errors() -> None:
    with pytest.raises(tools.ImagesError, match="ended with 3:\nlast words"):
        tools.output("sh -c", "echo last words >&2; exit 3", environ=os.environ)
    shown = tools.output("sh -c", "echo words >&2; exit 3", environ=os.environ, may_fail=True)
    assert shown == "words\n"


def test_every_target_of_the_containerfile_has_a_limit_of_its_size() -> None:
    lines = (ROOT / build.CONTAINERFILE).read_text().splitlines()
    targets = {line.split(" AS ")[1] for line in lines if line.startswith("FROM ")}
    with_packages = {name.removesuffix("-packages") for name in targets if "-packages" in name}
    assert with_packages == build.SIZES_MAX.keys() == {*build.SERVING, *build.JOBS}
    assert with_packages <= targets
