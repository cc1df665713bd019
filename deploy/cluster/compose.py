"""Rules for deploy/compose.yaml: each returns a line for each fault."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from deploy.cluster.known import SERVICES, variables

Service = dict[str, Any]

SERVERS = ("kafka", "postgres")
CAPABILITIES = {"models": {"CHOWN"}}
"""The one job that needs a capability: it gives the volume of models to the services' user."""
ENDED = "service_completed_successfully"
HEALTHY = "service_healthy"
_TAG = re.compile(r"^[\w./-]+:(\$\{\w+:-)?v?\d+(\.\d+)+\}?$")
"""An image with a version of numbers, or a variable with such a one as its default."""


def faults(composed: dict[str, Any], folder: Path) -> list[str]:
    """Return the faults of a Compose file that lies in `folder`."""
    services: dict[str, Service] = composed["services"]
    found = [fault for name, each in services.items() for fault in _any(name, each, folder)]
    ours = {n: s for n, s in services.items() if s["image"].startswith("ebbwatch-")}
    found += [fault for name, each in ours.items() for fault in _ours(name, each)]
    for name in SERVICES:
        found += _order(name, services)
    found += [
        f"{n} has no health check" for n in SERVERS if "healthcheck" not in services.get(n, {})
    ]
    return found


def _any(name: str, service: Service, folder: Path) -> Iterator[str]:
    if not _TAG.match(service["image"]):
        yield f"{name}: the image {service['image']} has no version"
    if "mem_limit" not in service:
        yield f"{name} has no memory limit"
    for port in service.get("ports", ()):
        if not str(port).startswith("127.0.0.1:"):
            yield f"{name} can be reached from other machines: {port}"
    for volume in service.get("volumes", ()):
        source = str(volume).partition(":")[0]
        if source.startswith(".") and not (folder / source).exists():
            yield f"{name} mounts {source}, which is not there"


def _ours(name: str, service: Service) -> Iterator[str]:
    added = set(service.get("cap_add", ())) - CAPABILITIES.get(name, set())
    if service.get("read_only") is not True or service.get("cap_drop") != ["ALL"] or added:
        yield f"{name} may write to its root or has capabilities"
    if "no-new-privileges:true" not in service.get("security_opt", ()):
        yield f"{name} may gain privileges"
    target = service["build"]["target"]
    owner = {"import": "ingest", "training": "scoring"}.get(target, target)
    for variable in sorted(service.get("environment", {}).keys() - variables(owner)):
        # The one variable that all share, although alerts has no amounts of its own.
        if variable != "EBBWATCH_REPORTING_CURRENCY":
            yield f"{name} sets {variable}, which {owner} does not read"


def _order(name: str, services: dict[str, Service]) -> Iterator[str]:
    needed = services[name].get("depends_on", {})
    for job in ("topics", f"migrate-{name}"):
        if needed.get(job, {}).get("condition") != ENDED:
            yield f"{name} does not wait until {job} has ended"
        servers = services.get(job, {}).get("depends_on", {})
        for server in SERVERS:
            if servers.get(server, {}).get("condition") != HEALTHY:
                yield f"{job} does not wait until {server} is healthy"
