"""Runs the rendered manifests by `podman kube play`, with a live event.

What Podman has no part for is left out: replicas, Services, NetworkPolicies, scaling,
probes by the name of a port. Pods, init containers, security contexts, limits, ConfigMap, Secret
and volumes are those of the manifests.
"""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

import httpx
import yaml

from deploy.cluster import rules
from deploy.cluster.known import ANY
from deploy.images import build, live
from deploy.images.check import GRACE_S, READY_S_MAX, confined
from deploy.images.tools import HOME, ImagesError, output
from deploy.local.stack import LocalStack
from deploy.local.waiting import LOOPBACK, until

SECRET = "ebbwatch"  # noqa: S105 (its name)
SECRET_NAMES = ("DATABASE_URL", "EBBWATCH_ALERTS_ENDPOINTS")
"""Settings that the Secret holds here, so that the folder of secrets is used."""
JOB_S_MAX = 60.0
PODS = "migrate ingest-pod-0 scoring-pod-0 alerts-pod-0"
"""The names that Podman gives to the Job's pod and to the Deployments'."""


def run(documents: Sequence[rules.Document]) -> None:
    """Plays an overlay's documents on a local stack; raises ImagesError at the first fault."""
    ports, key = live.free_ports(), live.webhook_secret()
    folder = HOME / "cluster"
    with LocalStack(folder, wipe=True) as stack, live.sample_crm(folder, key) as crm:
        environ = live.settings(stack, crm, key, ports)
        with _secret({name: environ.pop(name) for name in SECRET_NAMES}, folder):
            settings = _settings(documents, environ)
            volumes = rules.of_kind(documents, "PersistentVolumeClaim")
            (job,) = rules.of_kind(documents, "Job")
            with _played(folder / "migrate.yaml", [settings, _pod_of_job(job)]):
                ended("migrate-alerts")
            pods = [_fitted(each) for each in rules.of_kind(documents, "Deployment")]
            with _played(folder / "services.yaml", [settings, *volumes, *pods]):
                _see(documents, ports, crm)


def _see(documents: Sequence[rules.Document], ports: Mapping[str, int], crm: str) -> None:
    began = time.monotonic()
    for each in rules.of_kind(documents, "Deployment"):
        service = each["metadata"]["name"]
        (container,) = each["spec"]["template"]["spec"]["containers"]
        paths = [container[probe]["httpGet"]["path"] for probe in rules.PROBES]
        addresses = [f"http://{LOOPBACK}:{ports[service]}{path}" for path in paths]
        if not until(lambda found=addresses: all(map(_answers, found)), limit_s=READY_S_MAX):  # type: ignore[misc]
            log = output(f"podman logs --tail 20 {_container(service)}", may_fail=True)
            raise ImagesError(f"{service} does not get ready:\n{log}")
        confined(_container(service))
    print(f"  probes answer, confined: {time.monotonic() - began:.1f} s")
    made = f"podman exec {_container('ingest')} python -m services.ingest tokens create"
    token = output(f"{made} --name shop --scope events:write").strip()
    print(f"  orders in, signed task out: {live.see_a_task(ports['ingest'], token, crm):.1f} s")
    for service in ports:
        output(f"podman stop --time {GRACE_S} {_container(service)}")
        ended(_container(service))
    print("  SIGTERM, exit status 0")


def _container(service: str) -> str:
    return f"{service}-pod-0-{service}"


def _answers(address: str) -> bool:
    try:
        return httpx.get(address).is_success
    except httpx.TransportError:
        return False


def ended(container: str) -> None:
    """Waits for a container's end; raises ImagesError unless its exit status is 0."""
    seen: dict[str, Any] = {}

    def over() -> bool:
        seen.update(json.loads(output("podman inspect --format", "{{json .State}}", container)))
        return seen["Status"] in ("exited", "stopped")

    if not until(over, limit_s=JOB_S_MAX) or seen["ExitCode"]:
        log = output(f"podman logs --tail 20 {container}", may_fail=True)
        raise ImagesError(f"{container} is {seen['Status']}, {seen['ExitCode']}:\n{log}")


@contextmanager
def _secret(values: Mapping[str, str], folder: Path) -> Iterator[None]:
    """Makes the Secret of the pods; afterwards its values are nowhere any more."""
    # Podman 4 gives the pods what `data` has as it is, where Kubernetes decodes it from base64.
    document = {"kind": "Secret", "metadata": {"name": SECRET}, "data": dict(values)}
    file = folder / "secret.yaml"
    file.touch(mode=0o600)
    file.write_text(yaml.safe_dump(document))
    output(f"podman secret rm {SECRET}", may_fail=True)
    output(f"podman secret create {SECRET} {file}")
    file.unlink()
    try:
        yield
    finally:
        output(f"podman secret rm {SECRET}", may_fail=True)


@contextmanager
def _played(file: Path, documents: Sequence[rules.Document]) -> Iterator[None]:
    file.write_text(yaml.safe_dump_all(documents, allow_unicode=True))
    volumes = [e["metadata"]["name"] for e in rules.of_kind(documents, "PersistentVolumeClaim")]

    def remove() -> None:
        """Remove it all, also half of it, at which `podman kube down` would end."""
        output(f"podman pod rm --force --ignore --time 1 {PODS}")
        output(f"podman volume rm --force {SECRET} {' '.join(volumes)}", may_fail=True)

    remove()  # what a killed run has left
    began = time.monotonic()
    try:
        try:
            output(f"podman kube play --network host {file}")
        except ImagesError as failed:
            raise ImagesError(f"{failed}\n{_logs()}") from None
        print(f"  {file.stem}: played in {time.monotonic() - began:.1f} s", flush=True)
        yield
    finally:
        remove()


def _logs() -> str:
    """Returns the end of every container's log: Podman names a failed one by its number only."""
    names = output("podman ps --all --format {{.Names}}").split()
    shown = {name: output(f"podman logs --tail 8 {name}", may_fail=True) for name in names}
    return "\n".join(f"{name}: {text}" for name, text in shown.items() if text.strip())


def _settings(documents: Sequence[rules.Document], environ: Mapping[str, str]) -> rules.Document:
    """Returns the ConfigMap with the addresses of the local stack."""
    (settings,) = rules.of_kind(documents, "ConfigMap")
    values = {name: value for name, value in environ.items() if name in ANY}
    return {**settings, "data": {**settings["data"], **values}}


def _pod_of_job(job: rules.Document) -> rules.Document:
    template = job["spec"]["template"]
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "migrate"}}
    return {**pod, "spec": _with_images(template["spec"])}


def _fitted(deployment: rules.Document) -> rules.Document:
    """Returns a Deployment for the host's network: the port is a setting, and has no name."""
    copied = deepcopy(deployment)
    spec = copied["spec"]["template"]["spec"] = _with_images(copied["spec"]["template"]["spec"])
    spec["restartPolicy"] = "Never"  # Podman 4 restarts init containers that ended well, too
    for container in spec["containers"]:
        container.pop("ports")
        for probe in rules.PROBES:
            # Podman asks by a program that the images do not have; `_see` asks itself.
            container.pop(probe)
    return copied


def _with_images(spec: rules.Document) -> rules.Document:
    copied = deepcopy(spec)
    for container in (*copied.get("initContainers", ()), *copied["containers"]):
        target = container["image"].partition(":")[0].removeprefix("ebbwatch-")
        container["image"] = build.image(target)
    return copied
