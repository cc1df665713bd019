"""A live event for services that run from images: orders in over HTTP, a task out at a CRM."""

import secrets
import sys
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from deploy.images.tools import ImagesError
from deploy.local.process import Server
from deploy.local.services import PORTS, variable
from deploy.local.stack import ROOT, LocalStack
from deploy.local.waiting import LOOPBACK, free_port, until

TASK_S_MAX = 60.0
"""Longest wait from the orders to the task at the CRM, in seconds: usually under two."""
CUSTOMER = "customer-42"


@contextmanager
def sample_crm(folder: Path, secret: str) -> Iterator[str]:
    """Runs the sample CRM, which verifies signatures; yields its address."""
    port = free_port()
    environ = {
        "PYTHONPATH": str(ROOT),
        "SAMPLE_CRM_WEBHOOK_SECRET": secret,
        "SAMPLE_CRM_PORT": str(port),
    }
    command = [sys.executable, "-m", "deploy.local.sample_crm"]
    server = Server("crm", command, folder, folder, environ)
    server.start()
    try:
        yield f"http://{LOOPBACK}:{port}"
    finally:
        server.stop()


def webhook_secret() -> str:
    """Returns a new key for signatures."""
    return f"whsec_{b64encode(secrets.token_bytes(32)).decode()}"


def settings(stack: LocalStack, crm: str, secret: str, ports: Mapping[str, int]) -> dict[str, str]:
    """Returns the variables of services on a local stack that deliver to the sample CRM."""
    endpoint = f'[{{"id": "crm", "url": "{crm}/webhooks", "secrets": ["{secret}"]}}]'
    return {
        **stack.environment(),
        "EBBWATCH_ALERTS_DELIVERY_ALLOWED_NETWORKS": "127.0.0.0/8",
        "EBBWATCH_ALERTS_DELIVERY_HTTPS_ONLY": "false",
        "EBBWATCH_ALERTS_ENDPOINTS": endpoint,
        "EBBWATCH_INSTANCE": secrets.token_hex(8),
        **{variable(name): str(number) for name, number in ports.items()},
        **{f"EBBWATCH_{name.upper()}_HOST": LOOPBACK for name in ports},
    }


def free_ports() -> dict[str, int]:
    """Returns a free port for each service."""
    return {name: free_port() for name in PORTS}


def orders(now: datetime) -> list[dict[str, Any]]:
    """Returns a customer's orders, one a week and then none for 24 days."""
    newest = now - timedelta(days=24)
    return [
        {
            "specversion": "1.0",
            "id": f"order-{week}",
            "source": "shop",
            "type": "io.ebbwatch.purchase",
            "time": (newest - timedelta(weeks=week)).isoformat(),
            "subject": CUSTOMER,
            "data": {"amount": "59.90", "currency": "USD"},
        }
        for week in reversed(range(12))
    ]


def see_a_task(port: int, token: str, crm: str) -> float:
    """Publishes the orders and waits for their task; returns the seconds it took.

    Raises ImagesError with what was seen instead.
    """
    now = datetime.now(UTC)
    answer = httpx.post(
        f"http://{LOOPBACK}:{port}/v1/events",
        json=orders(now),
        headers={"Authorization": f"Bearer {token}"},
    )
    if answer.status_code not in (200, 202) or answer.json().get("accepted") != len(orders(now)):
        raise ImagesError(f"ingest answered {answer.status_code}: {answer.text[:500]}")
    found: list[Any] = []

    def arrived() -> bool:
        found[:] = httpx.get(f"{crm}/messages").json()
        return bool(found)

    if not until(arrived, limit_s=TASK_S_MAX):
        raise ImagesError(f"no task at the CRM after {TASK_S_MAX:g} s")
    kind = found[0]["message"]["type"]
    customer = found[0]["message"]["data"]["task"]["customer"]["id"]
    if (kind, customer) != ("retention_task.opened", CUSTOMER):
        raise ImagesError(f"the CRM received {kind} for {customer}")
    return (datetime.now(UTC) - now).total_seconds()
