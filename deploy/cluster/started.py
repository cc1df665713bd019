"""Starts the Compose file's own services by `podman-compose`, with a live event.

Kafka and PostgreSQL are those of the local stack, on the host's network; images of others cannot be
had everywhere and are left out. Commands, order, settings, rights, limits and volumes are those of
the file.
"""

import secrets
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from deploy.cluster.compose import Service
from deploy.cluster.play import ended
from deploy.cluster.rendered import tool
from deploy.images import build, live
from deploy.images.check import READY_S_MAX, STORE_FOLDER, confined, healthy, stopped
from deploy.images.tools import HOME, ImagesError, output
from deploy.local.stack import LocalStack
from deploy.local.waiting import until

PROJECT = "ebbwatch-check"
JOBS = ("topics", "models", "migrate-ingest", "migrate-scoring", "migrate-alerts")
"""What must end well. `podman-compose` runs a job again for each service that waits for it."""


def run(composed: Mapping[str, Any]) -> None:
    """Starts the services of a Compose file; raises ImagesError at the first fault."""
    ports, key = live.free_ports(), live.webhook_secret()
    folder = HOME / "compose"
    with LocalStack(folder, wipe=True) as stack, live.sample_crm(folder, key) as crm:
        environ = live.settings(stack, crm, key, ports) | {
            "EBBWATCH_ALERTS_SECRET_KEYS": b64encode(secrets.token_bytes(32)).decode()
        }
        with _up(folder / "compose.yaml", fitted(composed, environ)):
            for job in JOBS:
                ended(container(job))
            for service in ports:
                if not until(partial(healthy, container(service)), limit_s=READY_S_MAX):
                    raise ImagesError(f"{service} does not get healthy:\n{_log(service)}")
                confined(container(service))
            output(f"podman exec {container('scoring')} touch {STORE_FOLDER}/written")
            made = f"podman exec {container('ingest')} python -m services.ingest tokens create"
            token = output(f"{made} --name shop --scope events:write").strip()
            took = live.see_a_task(ports["ingest"], token, crm)
            print(f"  jobs ended, healthy, confined; orders in, signed task out: {took:.1f} s")
            for service in ports:
                stopped(service, container(service))


def fitted(composed: Mapping[str, Any], environ: Mapping[str, str]) -> dict[str, Any]:
    """Returns the file's own services, on the host's network and with the settings `environ`."""
    ours = {
        name: deepcopy(each)
        for name, each in composed["services"].items()
        if "build" in each and "profiles" not in each
    }
    for each in ours.values():
        each["image"] = build.image(each.pop("build")["target"])
        each["network_mode"] = "host"
        each.pop("ports", None)
        each["environment"] = {**each.get("environment", {}), **environ}
        needed = each.get("depends_on", {})
        each["depends_on"] = {name: needed[name] for name in needed if name in ours}
    mounted = {volume.partition(":")[0] for each in ours.values() for volume in _volumes(each)}
    volumes = {name: value for name, value in composed["volumes"].items() if name in mounted}
    return {"services": ours, "volumes": volumes}


def container(service: str) -> str:
    """Returns the name that `podman-compose` gives to the container of a service."""
    return f"{PROJECT}_{service}_1"


def _volumes(service: Service) -> list[str]:
    return [str(volume) for volume in service.get("volumes", ())]


@contextmanager
def _up(file: Path, composed: Mapping[str, Any]) -> Iterator[None]:
    file.touch(mode=0o600)
    file.write_text(yaml.safe_dump(composed))
    command = f"{tool('podman-compose')} --project-name {PROJECT} --file {file}"
    output(f"{command} down --volumes --timeout 1")  # what a killed run has left
    try:
        output(f"{command} up --detach --no-build")
        yield
    finally:
        output(f"{command} down --volumes --timeout 1")
        file.unlink()


def _log(service: str) -> str:
    return output(f"podman logs --tail 20 {container(service)}", may_fail=True)
