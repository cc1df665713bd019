"""The three services of a working copy as processes on a local stack, for `make up`."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import httpx

from deploy.local.process import READY_S_MAX, Server, StackError
from deploy.local.waiting import LOOPBACK, until

PORTS = {"ingest": 8081, "scoring": 8082, "alerts": 8083}
"""Where each service answers HTTP, unless `EBBWATCH_<NAME>_PORT` says otherwise."""
GRACE_S = 12.0
"""From SIGTERM to SIGKILL, in seconds: a service promises to drain within 10."""


def port(name: str, environment: Mapping[str, str]) -> int:
    """The HTTP port of a service."""
    return int(environment.get(f"EBBWATCH_{name.upper()}_PORT", PORTS[name]))


def migrate(environment: Mapping[str, str], root: Path) -> None:
    """Bring every service's tables up to date; raises `StackError` with what went wrong."""
    for name in PORTS:
        done = subprocess.run(
            [sys.executable, "-m", f"services.{name}", "migrate"],
            env=environment,
            cwd=root,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise StackError(f"migrating {name} failed:\n{done.stdout}{done.stderr}")


def server(name: str, environment: Mapping[str, str], root: Path, data: Path) -> Server:
    """One service, ready to start; its log goes to `data`."""
    own = {f"EBBWATCH_{name.upper()}_PORT": str(port(name, environment)), "PYTHONPATH": str(root)}
    command = [sys.executable, "-m", f"services.{name}", "run"]
    return Server(name, command, data, data, {**environment, **own}, grace_s=GRACE_S)


def wait_ready(process: Server) -> None:
    """Return when the service says that it is ready; raises `StackError` if it does not."""
    address = f"http://{LOOPBACK}:{port(process.name, process.environment)}/readyz"

    def ready() -> bool:
        try:
            return httpx.get(address).is_success
        except httpx.TransportError:
            return False

    if not until(lambda: not process.running or ready(), limit_s=READY_S_MAX):
        raise StackError(f"{process.name} does not get ready:\n{process.tail()}")
    if not process.running:
        raise StackError(f"{process.name} ended with {process.returncode}:\n{process.tail()}")
