"""Builds the images: a base of Debian's packages, or a given one, and a target for each service."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from zlib import crc32

from deploy.images.tools import HOME, ImagesError, output
from deploy.local.stack import ROOT

CONTAINERFILE = "deploy/images/Containerfile"
SHARED = "builder"
"""The stage that all others need, built before them so that it is built once."""
SERVING = ("ingest", "scoring", "alerts")
JOBS = ("import", "training")
MEGABYTE = 1_000_000

SIZES_MAX = {"ingest": 400, "scoring": 500, "alerts": 500, "import": 800, "training": 1_100}
"""Largest size of each image with its base, in megabytes: what it has now, and a tenth more."""

SUITE = "bookworm"
INCLUDED = "python3,python3-venv,libgomp1,libstdc++6,ca-certificates,netbase,tzdata"
"""What `python:3-slim` has of Debian, and LightGBM's library."""
WITHOUT = ("man", "doc", "locale", "info")
PARALLEL = 2
"""Images built at once: more need more than the two cores that the check is made for."""

CHANGED = "-changed"
"""Ends the revision of a working copy that differs from its commit."""
CACHED_HOURS = 168
"""Age of layers that no image has any more, in hours, after which they are removed: a week."""

PIP_KEYS = ("index-url", "extra-index-url", "trusted-host", "proxy", "timeout", "retries")
AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")


def base() -> str:
    """Returns the name of the base; makes it from Debian's packages the first time."""
    without = [f"--dpkgopt=path-exclude=/usr/share/{folder}/*" for folder in WITHOUT]
    making = f"mmdebstrap --quiet --variant=essential --include={INCLUDED} {SUITE}"
    # By what makes it, so that a changed list makes another.
    name = f"localhost/ebbwatch-base:{crc32(' '.join([making, *without]).encode()):08x}"
    if output(f"podman images --quiet {name}").strip():
        return name
    file = HOME / "base.tar"
    output(making, str(file), *without)
    output(f"podman import --quiet {file} {name}")
    file.unlink()
    return name


def image(target: str) -> str:
    """Returns the name of a target's image."""
    return f"localhost/ebbwatch-{target}:{revision()[:12]}"


@cache
def revision() -> str:
    """Returns the commit that is built, with `-changed` where the working copy differs from it."""
    commit = output("git rev-parse HEAD").strip()
    return commit + CHANGED if output("git status --porcelain").strip() else commit


def ensure(targets: Sequence[str]) -> None:
    """Builds those of the images that this commit does not have yet, on the default base."""
    absent = [target for target in targets if _is_to_build(target)]
    if absent:
        build(absent, base())


def _is_to_build(target: str) -> bool:
    label = '{{index .Labels "org.opencontainers.image.revision"}}'
    built = output("podman image inspect --format", label, image(target), may_fail=True).strip()
    return built != revision() or built.endswith(CHANGED)


def build(targets: Sequence[str], on: str) -> None:
    """Builds images on the base `on`; raises ImagesError with the end of a failed build."""
    with tempfile.TemporaryDirectory(prefix="ebbwatch-build-") as folder:
        secrets = pip_secrets(Path(folder))
        common = (
            "buildah build --quiet --format docker --layers --isolation chroot --network host "
            f"--file {CONTAINERFILE} --build-arg BASE={on} --build-arg REVISION={revision()}"
        )

        def one(target: str) -> None:
            output(f"{common} --target {target} --tag {image(target)}", *secrets, ".")

        one(SHARED)
        longest_first = sorted(targets, key=lambda target: -SIZES_MAX[target])
        with ThreadPoolExecutor(PARALLEL) as pool:
            list(pool.map(one, longest_first))
    output(f"podman image prune --force --filter until={CACHED_HOURS}h")


def pip_secrets(folder: Path) -> list[str]:
    """Writes how pip reaches packages here, for the build alone; returns buildah's options."""
    shown = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    ).stdout
    configured = {}
    for line in shown.splitlines():
        name, _, value = line.partition("=")
        key = name.rpartition(".")[2]
        if key in PIP_KEYS:
            configured[key] = value.strip("'\"")
    lines = [f"{key} = {value}" for key, value in configured.items()]
    given = os.environ.get("PIP_CERT") or os.environ.get("SSL_CERT_FILE")
    authorities = Path(given) if given else AUTHORITIES
    options = []
    if authorities.is_file():
        lines.append("cert = /run/secrets/ca.pem")
        options += ["--secret", f"id=ca.pem,src={authorities}"]
    file = folder / "pip.conf"
    file.touch(mode=0o600)
    file.write_text("\n".join(["[global]", *lines, ""]))
    return ["--secret", f"id=pip.conf,src={file}", *options]


def size(target: str) -> float:
    """Returns the size of an image in megabytes, its base included."""
    return int(output("podman inspect --format {{.Size}}", image(target))) / MEGABYTE


def write_sbom(target: str, folder: Path) -> int:
    """Writes the SBOM (CycloneDX) of an image beside it; returns its number of components."""
    command = f"podman run --rm --no-healthcheck --network none {image(target)}"
    text = output(f"{command} cat /opt/ebbwatch/sbom.cdx.json")
    found = json.loads(text)
    if found.get("bomFormat") != "CycloneDX" or not found.get("components"):
        raise ImagesError(f"{target}: the SBOM in the image lists nothing")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{target}.cdx.json").write_text(text)
    return len(found["components"])


BUILD = ROOT / "build" / "images"
"""Where SBOMs are written."""
