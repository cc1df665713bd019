"""The programs that build and run images here, and the settings with which they work as root.

Neither needs a daemon, systemd or an image registry. Images and layers stay in the working copy.
"""

import os
import shlex
import shutil
import subprocess
from collections.abc import Mapping

from deploy.local.stack import ROOT

HOME = ROOT / ".local" / "images"
"""Folder of the base, the settings and all images; `make clean` removes it."""
NEEDED = ("mmdebstrap", "buildah", "podman", "runc", "catatonit")
PACKAGES = "mmdebstrap buildah podman runc uidmap catatonit"
"""Debian's packages that bring them, and what `podman kube play` needs."""

_CONTAINERS = """[containers]
default_ulimits = ["nofile=20000:20000", "nproc=32768:32768"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
"""
"""Without systemd; limits that root without all capabilities may set."""


class ImagesError(RuntimeError):
    """An image cannot be built or run, or is not what it should be; the message has the reason."""


def require() -> None:
    """Raises ImagesError, with the remedy, where the tools or the rights are missing."""
    absent = [name for name in NEEDED if shutil.which(name) is None]
    if absent:
        raise ImagesError(
            f"{', '.join(absent)} is not here: apt-get install --no-install-recommends {PACKAGES}"
        )
    if os.geteuid() != 0:
        raise ImagesError("building without a daemon needs root here: run it as root")


def environment() -> dict[str, str]:
    """Returns the environment of the tools; writes their settings, made for this working copy.

    `STORAGE_DRIVER=vfs` is for a machine with a kernel or file system that refuses overlays.
    """
    HOME.mkdir(parents=True, exist_ok=True)
    driver = os.environ.get("STORAGE_DRIVER", "overlay")
    (HOME / "containers.conf").write_text(_CONTAINERS)
    (HOME / "storage.conf").write_text(
        f'[storage]\ndriver = "{driver}"\n'
        f'graphroot = "{HOME / "storage"}"\nrunroot = "{HOME / "run"}"\n'
    )
    return {
        **os.environ,
        "CONTAINERS_CONF": str(HOME / "containers.conf"),
        "CONTAINERS_STORAGE_CONF": str(HOME / "storage.conf"),
        "BUILDAH_ISOLATION": "chroot",
        "TMPDIR": os.environ.get("TMPDIR", "/tmp"),  # noqa: S108 (as every program has it)
    }


def output(
    command: str, *more: str, environ: Mapping[str, str] | None = None, may_fail: bool = False
) -> str:
    """Runs a command in the working copy and returns what it prints; with `may_fail` its errors,
    too.

    `command` is split as a shell would; `more` are whole arguments. Raises ImagesError with the end
    of its errors if its exit status is not 0.
    """
    words = [*shlex.split(command), *more]
    done = subprocess.run(
        words,
        cwd=ROOT,
        env={**(environment() if environ is None else environ)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT if may_fail else subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode and not may_fail:
        shown = "\n".join((done.stdout + done.stderr).splitlines()[-20:])
        raise ImagesError(f"{' '.join(words[:6])} … ended with {done.returncode}:\n{shown}")
    return done.stdout
