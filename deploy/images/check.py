"""Runs the built images as production should, and judges what they do.

On loopback, against a broker and a PostgreSQL of the local stack: the root read-only, no
capabilities, a memory limit. Tables and topics first, then the services; orders in, a task out,
SIGTERM, exit status 0.
"""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial

from deploy.images import build, live
from deploy.images.tools import HOME, ImagesError, output
from deploy.local.services import PORTS
from deploy.local.stack import LocalStack
from deploy.local.waiting import until

MEMORY = "512m"
"""Memory limit of each service, as its manifests set it (deploy/kubernetes/)."""
READY_S_MAX = 60.0
STOP_S_MAX = 10.0
"""From SIGTERM to the end, in seconds: what a service promises."""
GRACE_S = 15
"""From SIGTERM to SIGKILL, in seconds."""
USER = "10001"

LOCKED = (
    "--network host --read-only --cap-drop all --security-opt no-new-privileges "
    f"--memory {MEMORY} --pids-limit 512 --tmpfs /tmp:size=64m"
)
STORE_FOLDER = "/var/lib/ebbwatch/models"
STORE = "--tmpfs /var/lib/ebbwatch:size=64m,mode=1777"
"""Scoring's folder of models, which its user may write."""


def sizes(targets: Sequence[str]) -> None:
    """Prints each image's size; raises ImagesError if one is above its limit."""
    too_large = []
    for target in targets:
        found, most = build.size(target), build.SIZES_MAX[target]
        components = build.write_sbom(target, build.BUILD)
        print(f"  {target:9} {found:6.0f} MB of {most}, SBOM with {components} packages")
        if found > most:
            too_large.append(f"{target} has {found:.0f} MB, more than {most}")
    if too_large:
        raise ImagesError("; ".join(too_large))


def run() -> None:
    """Runs the whole check on images that are built; raises ImagesError at the first fault."""
    ports, secret = live.free_ports(), live.webhook_secret()
    folder = HOME / "check"
    with LocalStack(folder, wipe=True) as stack, live.sample_crm(folder, secret) as crm:
        environ = live.settings(stack, crm, secret, ports)
        began = time.monotonic()
        job("ingest", environ, "deploy.local.topics")
        for name in PORTS:
            job(name, environ, f"services.{name}", "migrate")
        print(f"  topics and tables: {time.monotonic() - began:.1f} s")
        with services(environ) as names:
            made = f"podman exec {names['ingest']} python -m services.ingest tokens create"
            token = output(f"{made} --name shop --scope events:write").strip()
            took = live.see_a_task(ports["ingest"], token, crm)
            print(f"  orders in, signed task out: {took:.1f} s")
            for name in names.values():
                confined(name)
            print("  root read-only, no capabilities, no new privileges, not root, seccomp")
            refuses_files(names["ingest"])
            for service, name in names.items():
                stopped(service, name)


def job(target: str, environ: Mapping[str, str], *arguments: str) -> None:
    """Runs one command from an image to its end."""
    command = f"podman run --rm --no-healthcheck {LOCKED}"
    output(command, *_variables(environ), build.image(target), "python", "-m", *arguments)


@contextmanager
def services(environ: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """Runs the three services until all are healthy; yields their containers' names."""
    names = {service: f"ebbwatch-check-{service}" for service in PORTS}
    remove = f"podman rm --force --ignore --time 1 {' '.join(names.values())}"
    output(remove)
    began = time.monotonic()
    try:
        for service, name in names.items():
            command = f"podman run --detach --name {name} {LOCKED} {STORE}"
            output(command, *_variables(environ), build.image(service))
        for service, name in names.items():
            if not until(partial(healthy, name), limit_s=READY_S_MAX):
                log = output(f"podman logs --tail 20 {name}", may_fail=True)
                raise ImagesError(f"{service} does not get healthy:\n{log}")
        print(f"  healthy: {time.monotonic() - began:.1f} s")
        yield names
    finally:
        output(remove)


def healthy(name: str) -> bool:
    """Returns whether the image's own health check passes; timers would need systemd."""
    shown = output(f"podman healthcheck run {name}", may_fail=True)
    state = output("podman inspect --format", "{{json .State}}", name)
    checks = json.loads(state).get("Health", {}).get("Log") or []
    return "unhealthy" not in shown and bool(checks) and checks[-1].get("ExitCode") == 0


def confined(name: str) -> None:
    """Raises ImagesError unless the service's own process has no more rights than it should."""
    lines = output(f"podman exec {name} cat /proc/1/status").splitlines()
    status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    wanted = {"CapEff": "0" * 16, "CapBnd": "0" * 16, "NoNewPrivs": "1", "Seccomp": "2"}
    wrong = {key: status.get(key) for key, value in wanted.items() if status.get(key) != value}
    if wrong or set(status["Uid"].split()) != {USER}:
        raise ImagesError(f"{name} has rights that it should not: {wrong}, {status['Uid']}")
    shown = output(f"podman exec {name} sh -c", "touch /app/x 2>&1 || true")
    if "Read-only" not in shown:
        raise ImagesError(f"{name} can write to its root: {shown}")


def refuses_files(name: str) -> None:
    """Raises ImagesError unless an import in a serving image names the image that can do it."""
    script = "echo a > /tmp/a.csv; python -m services.ingest import /tmp/a.csv 2>&1 || true"
    shown = output(f"podman exec {name} sh -c", script)
    if "image `import`" not in shown:
        raise ImagesError(f"a serving image does not say where files are imported: {shown}")


def stopped(service: str, name: str) -> None:
    """Stops a service with SIGTERM; raises ImagesError unless it ends in time with status 0."""
    began = time.monotonic()
    output(f"podman stop --time {GRACE_S} {name}")
    took = time.monotonic() - began
    status = output("podman inspect --format {{.State.ExitCode}}", name).strip()
    print(f"  {service:9} SIGTERM, exit status {status} after {took:.1f} s")
    if status != "0" or took > STOP_S_MAX:
        log = output(f"podman logs --tail 20 {name}", may_fail=True)
        raise ImagesError(f"{service} ended with {status} after {took:.1f} s:\n{log}")


def _variables(environ: Mapping[str, str]) -> list[str]:
    names = [name for name in environ if name.startswith(("EBBWATCH_", "KAFKA_", "DATABASE_"))]
    return [part for name in names for part in ("--env", f"{name}={environ[name]}")]
