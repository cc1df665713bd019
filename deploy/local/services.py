"""Runs the three services of a working copy as processes on a local stack, for `make up`."""

import secrets
import subprocess
import sys
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path

import httpx

from deploy.local.process import PRIVATE_FILE, READY_S_MAX, Server, StackError
from deploy.local.waiting import LOOPBACK, is_free, until
from shared.http.app import INSTANCE

PORTS = {"ingest": 8081, "scoring": 8082, "alerts": 8083}
"""HTTP port of each service, unless `EBBWATCH_<NAME>_PORT` sets another."""
INSTANCE_VARIABLE = "EBBWATCH_INSTANCE"
"""Passes a service the name under which it was started (`shared.http.app.INSTANCE`)."""
ALERTS_KEY = "alerts-secret-key"
"""File, in the stack's folder, of the key that encrypts endpoints' secrets in its database."""
GRACE_S = 12.0
"""From SIGTERM to SIGKILL, in seconds: a service promises to drain within 10."""


def port(name: str, environment: Mapping[str, str]) -> int:
    """Returns the HTTP port of a service."""
    return int(environment.get(variable(name), PORTS[name]))


def variable(name: str) -> str:
    """Returns the environment variable that sets a service's port."""
    return f"EBBWATCH_{name.upper()}_PORT"


def development(data: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """Returns the settings with which alerts may send to this machine, over http.

    Those of `environment` replace them. The key is made at the first call and kept in `data`.
    """
    settings = {
        "EBBWATCH_ALERTS_DELIVERY_ALLOWED_NETWORKS": "127.0.0.0/8",
        "EBBWATCH_ALERTS_DELIVERY_HTTPS_ONLY": "false",
        "EBBWATCH_ALERTS_SECRET_KEYS": _kept_key(data / ALERTS_KEY),
    }
    return {name: environment.get(name, value) for name, value in settings.items()}


def _kept_key(file: Path) -> str:
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(mode=PRIVATE_FILE)
        file.write_text(b64encode(secrets.token_bytes(32)).decode())
    return file.read_text()


def check_ports(environment: Mapping[str, str]) -> None:
    """Raises `StackError` where another program has a service's port.

    Called before anything is started, and once for all services.
    """
    numbers = {name: port(name, environment) for name in PORTS}
    found = [taken(name, number) for name, number in numbers.items() if not is_free(number)]
    if found:
        raise StackError("\n".join(found))


def migrate(environment: Mapping[str, str], root: Path) -> None:
    """Brings every service's tables up to date; raises `StackError` with the error."""
    for name in PORTS:
        print(f"  {name:8} creates or updates its tables", flush=True)
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
    """Returns one service, ready to start; its log goes to `data`.

    Each start gets a name of its own, which distinguishes its answers from those of another
    process.
    """
    number = port(name, environment)
    own = {
        variable(name): str(number),
        "PYTHONPATH": str(root),
        INSTANCE_VARIABLE: secrets.token_hex(8),
    }
    command = [sys.executable, "-m", f"services.{name}", "run"]

    def prepare() -> None:
        if not is_free(number):
            raise StackError(taken(name, number))

    return Server(
        name, command, data, data, {**environment, **own}, grace_s=GRACE_S, prepare=prepare
    )


def taken(name: str, number: int) -> str:
    """Returns the message about a port that another program has."""
    return (
        f"{name} cannot listen on port {number}: another program does. Stop that one, or choose "
        f"another port with {variable(name)}"
    )


def wait_ready(process: Server) -> None:
    """Returns when the service reports that it is ready; raises `StackError` if it does not."""
    address = f"http://{LOOPBACK}:{port(process.name, process.environment)}/readyz"

    ours = process.environment[INSTANCE_VARIABLE]

    def ready() -> bool:
        try:
            answer = httpx.get(address)
        except httpx.TransportError:
            return False
        return answer.is_success and answer.headers.get(INSTANCE) == ours

    if not until(lambda: not process.running or ready(), limit_s=READY_S_MAX):
        raise StackError(f"{process.name} does not get ready:\n{process.tail()}")
    if not process.running:
        raise StackError(f"{process.name} ended with {process.returncode}:\n{process.tail()}")
