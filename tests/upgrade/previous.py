"""The release to upgrade from: found in CHANGELOG.md, taken from the history in git."""

import io
import re
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Final, NamedTuple

from deploy.local.stack import ROOT

RELEASE: Final = re.compile(r"^## (v\S+) - .*\n+Commit `([0-9a-f]{7,40})`", re.MULTILINE)
"""The heading of a release in CHANGELOG.md, and the commit that its first paragraph begins with."""
PINNED: Final = re.compile(r"^([a-z0-9][^=\s]*)==(\S+)", re.MULTILINE)
"""A package of a requirement file, and its version."""


class Previous(NamedTuple):
    """A release."""

    name: str
    commit: str


class Missing(Exception):  # noqa: N818 (what it is)
    """The history of this working copy does not reach back to the release."""


def newest(changelog: str) -> Previous:
    """Returns the newest release of a changelog; raises `ValueError` where it names none."""
    found = RELEASE.search(changelog)
    if found is None:
        raise ValueError("CHANGELOG.md: a release is '## vX.Y.Z - DATE' and then 'Commit `…`'")
    return Previous(*found.groups())


def _git(repository: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    here = f"safe.directory={repository}"  # whatever user owns the working copy
    command = [shutil.which("git") or "git", "-c", here, "-C", str(repository), *arguments]
    return subprocess.run(command, capture_output=True, check=False)


def require(release: Previous, repository: Path = ROOT) -> None:
    """Raises `Missing` where the history does not have the release."""
    if _git(repository, "cat-file", "-e", f"{release.commit}^{{commit}}").returncode:
        raise Missing(
            f"{release.name} (commit {release.commit}) is not in this working copy's history, so "
            "no upgrade from it can be tried: get all of the history (`git fetch --unshallow`)"
        )


def export(release: Previous, folder: Path, repository: Path = ROOT) -> None:
    """Writes the files of a release to `folder`, in place of what is there; raises `Missing`."""
    require(release, repository)
    archive = _git(repository, "archive", "--format=tar", release.commit)
    shutil.rmtree(folder, ignore_errors=True)
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
        files.extractall(folder, filter="data")


def other_packages(folder: Path) -> list[str]:
    """Returns the packages that a release in `folder` was built with in another version.

    It runs with those of this working copy.
    """
    then, now = (
        dict(PINNED.findall((root / "requirements" / "dev.txt").read_text("utf-8")))
        for root in (folder, ROOT)
    )
    return sorted(
        f"{name} {version}, now {now.get(name, 'none')}"
        for name, version in then.items()
        if now.get(name) != version
    )
