"""The release to upgrade from is named by the changelog and taken from the history, or missing."""

import shutil
import subprocess
from pathlib import Path

import pytest

from deploy.local.stack import ROOT
from tests.upgrade.previous import Missing, Previous, export, newest

CHANGELOG = """\
## Unreleased

Since commit `aaaaaaa`.

## v0.2.0 - 2027-01-01

Commit `bbbbbbb`, the second.

## v0.1.0 - 2026-11-30

Commit `ccccccc`, the first.
"""


def test_the_newest_release_is_the_first_one_named() -> None:
    assert newest(CHANGELOG) == Previous("v0.2.0", "bbbbbbb")


def test_the_changelog_names_one() -> None:
    assert newest((ROOT / "CHANGELOG.md").read_text("utf-8")).name.startswith("v0.")


def test_a_changelog_without_release_is_refused() -> None:
    with pytest.raises(ValueError, match=r"vX\.Y\.Z"):
        newest("## Unreleased\n")


def _git(folder: Path, *arguments: str) -> str:
    git = shutil.which("git")
    assert git, "install git"
    as_somebody = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    done = subprocess.run(
        [git, "-C", str(folder), *as_somebody, *arguments],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    return done.stdout.strip()


def test_the_files_of_the_commit_replace_what_is_there(tmp_path: Path) -> None:
    """Later files, and those of an earlier export, are not among them."""
    _git(tmp_path, "init", "--quiet", "repository")
    repository, folder = tmp_path / "repository", tmp_path / "old"
    (repository / "a.txt").write_text("then")
    _git(repository, "add", ".")
    _git(repository, "commit", "--quiet", "-m", "first")
    commit = _git(repository, "rev-parse", "--short", "HEAD")
    (repository / "a.txt").write_text("now")
    folder.mkdir()
    (folder / "b.txt").touch()
    export(Previous("v0.1.0", commit), folder, repository)
    assert [(file.name, file.read_text()) for file in folder.iterdir()] == [("a.txt", "then")]


def test_a_history_that_is_too_short_is_said(tmp_path: Path) -> None:
    _git(tmp_path, "init", "--quiet")
    with pytest.raises(Missing, match=r"v0\.1\.0 .* is not in this working copy's history"):
        export(Previous("v0.1.0", "f257735"), tmp_path / "old", tmp_path)
