"""Finds out by trial whether this machine can build and run containers at all.

The image is one static program. It is built by a step that runs it, and run with the limits of the
services, so a machine that refuses it would refuse every image of ours.
"""

import shutil
import tempfile
from pathlib import Path

from deploy.images import tools
from deploy.images.check import LOCKED, USER
from deploy.images.tools import ImagesError, output

CANNOT = 3
"""Exit status of `python -m deploy.images probe` where containers cannot run."""
PROGRAM = "catatonit"
"""A static program that Debian's package for `podman kube play` has."""
IMAGE = "localhost/ebbwatch-probe"
CONTAINERFILE = f"""FROM scratch
COPY {PROGRAM} /
RUN ["/{PROGRAM}", "--version"]
USER {USER}:{USER}
CMD ["/{PROGRAM}", "--version"]
"""


def probe() -> None:
    """Raises ImagesError with the first thing that this machine refuses."""
    tools.require()
    with tempfile.TemporaryDirectory(prefix="ebbwatch-probe-") as folder:
        shutil.copy(str(shutil.which(PROGRAM)), folder)
        (Path(folder) / "Containerfile").write_text(CONTAINERFILE)
        build = "buildah build --quiet --format docker --layers=false --isolation chroot"
        try:
            output(f"{build} --network host --tag {IMAGE} {folder}")
            shown = output(f"podman run --rm {LOCKED} {IMAGE}")
        finally:
            output(f"podman rmi --force {IMAGE}", may_fail=True)
    if PROGRAM not in shown:
        raise ImagesError(f"a container that should print its version printed {shown!r}")
