"""The first tutorial, followed on the real local stack."""

from pathlib import Path

import pytest

from deploy.local.stack import ROOT
from deploy.local.waiting import free_port
from tests.tutorial.reader import Reader, copied

NAMED = {"INGEST": 8081, "SCORING": 8082, "ALERTS": 8083}
CRM = 8090


@pytest.mark.timeout(600)  # seconds: a whole stack starts and stops
def test_the_first_event_becomes_the_first_task(
    public_folder: Path, environ: dict[str, str]
) -> None:
    ports = {port: free_port() for port in (*NAMED.values(), CRM)}
    chosen = {f"EBBWATCH_{name}_PORT": str(ports[port]) for name, port in NAMED.items()}
    with Reader(copied(public_folder), environ | chosen, ports) as reader:
        reader.follow(ROOT / "docs/tutorial/first-event.md")
