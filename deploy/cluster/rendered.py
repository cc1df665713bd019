"""Renders the manifests and the Compose file by the tools that a person uses, and validates them.

`kubectl` renders without a cluster. The validators are pinned in requirements/deploy-checks.txt.
"""

import os
import re
import shutil
from pathlib import Path
from typing import Any

import yaml

from deploy.cluster import compose, rules
from deploy.images.tools import ImagesError, output
from deploy.local.stack import ROOT

KUBERNETES = ROOT / "deploy" / "kubernetes"
OVERLAYS = ("small", "production")
OPTIONAL = ("tracing",)
"""Components that no overlay has, for an overlay of one's own: checked with each of ours."""
OWN = (f"{rules.SPANS}=http://collector.observability.svc:4318",)
"""What an overlay with the optional components has to set."""
VERSIONS = ("1.30", "1.37")
"""The manifests must satisfy the schemas of these releases of Kubernetes: oldest and newest."""
WITHOUT_SCHEMA = ("ScaledObject",)
"""Kinds of others (KEDA) that the validator does not know: `rules` looks at them."""
CHECKS = ROOT / ".local" / "checks" / "bin"
EXAMPLE = ROOT / "deploy" / "compose" / "env.example"


def overlay(name: str) -> list[rules.Document]:
    """Returns the documents of an overlay, rendered by `kubectl kustomize`."""
    return _render(KUBERNETES / "overlays" / name)


def with_components(name: str, folder: Path) -> list[rules.Document]:
    """Returns the documents of an overlay of one's own: one of ours with the optional components.

    The overlay is written to `folder`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    resources = [os.path.relpath(KUBERNETES / "overlays" / name, folder)]
    components = [os.path.relpath(KUBERNETES / "components" / each, folder) for each in OPTIONAL]
    own = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization",
        "namespace": "ebbwatch", "resources": resources, "components": components,
        "configMapGenerator": [{"name": "ebbwatch", "behavior": "merge", "literals": list(OWN)}],
    }  # fmt: skip
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(own))
    return _render(folder)


def _render(folder: Path) -> list[rules.Document]:
    if shutil.which("kubectl") is None:
        raise ImagesError("kubectl is not here: install it, no cluster is needed")
    text = output("kubectl kustomize", str(folder), environ=os.environ)
    return [each for each in yaml.safe_load_all(text) if each]


def with_schema(documents: list[rules.Document]) -> list[rules.Document]:
    """Returns the documents of kinds that Kubernetes itself defines."""
    return [each for each in documents if each["kind"] not in WITHOUT_SCHEMA]


def check_overlay(name: str, documents: list[rules.Document], folder: Path) -> None:
    """Checks an overlay's documents by the schemas and by our rules.

    Raises ImagesError naming what is wrong.
    """
    file = folder / f"{name}.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(yaml.safe_dump_all(with_schema(documents), allow_unicode=True))
    for version in VERSIONS:
        validate(file, version)
    if found := rules.faults(documents):
        raise ImagesError(f"overlay {name}:\n" + "\n".join(found))


def validate(file: Path, version: str) -> None:
    """Raises ImagesError with what the schemas of a release of Kubernetes refuse in a file."""
    validator = tool("kubernetes-validate")
    shown = output(f"{validator} --strict -k {version} {file}", environ=os.environ)
    if wrong := re.findall(r"^(?:ERROR|WARN).*", shown, re.MULTILINE):
        raise ImagesError("\n".join(wrong))


def composed() -> dict[str, Any]:
    """Returns the Compose file with the example's variables, as `podman-compose config` sees it."""
    lines = [line for line in EXAMPLE.read_text().splitlines() if line and line[0] != "#"]
    example = dict(line.split("=", 1) for line in lines)
    environ = {**os.environ, **{name: value or "example" for name, value in example.items()}}
    program = tool("podman-compose")
    # Dry, so that it needs no Podman.
    command = f"{program} --dry-run -f deploy/compose.yaml --profile commands config"
    text = output(command, environ=environ)
    found: dict[str, Any] = yaml.safe_load(text)
    return found


def check_compose() -> int:
    """Checks the Compose file by our rules; returns its number of services."""
    found = composed()
    if wrong := compose.faults(found, ROOT / "deploy"):
        raise ImagesError("deploy/compose.yaml:\n" + "\n".join(wrong))
    return len(found["services"])


def tool(name: str) -> Path:
    """Returns the path of a pinned tool; raises ImagesError where it is not installed."""
    path = CHECKS / name
    if not path.exists():
        raise ImagesError(f"{name} is not here: `make manifests-check` installs it")
    return path
