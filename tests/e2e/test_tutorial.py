"""The first tutorial, followed on the real local stack, and then every runbook beside it."""

from pathlib import Path

import pytest

from deploy.local.stack import ROOT
from deploy.local.waiting import free_port
from tests.tutorial.reader import Reader, copied

NAMED = {"INGEST": 8081, "SCORING": 8082, "ALERTS": 8083}
CRM = 8090
RUNBOOKS = sorted((ROOT / "docs/runbooks").glob("*.md"), key=lambda p: (p.name != "README.md", p))
"""The first one sets the variables of the others."""
REFUSED = """
curl -sS http://127.0.0.1:8081/v1/events -H "Authorization: Bearer $SHOP" \\
  -H 'content-type: application/json' --data '{"specversion": "1.0", "id": "bad", "source": "shop",
  "type": "io.ebbwatch.purchase", "time": "2026-01-01T00:00:00Z", "subject": "customer-42",
  "data": {"amount": "1.00"}}'
"""
"""An event that becomes a dead letter; `$SHOP` is of the tutorial."""


@pytest.mark.timeout(900)  # seconds: a whole stack starts and stops, and many commands run
def test_the_first_event_becomes_the_first_task_and_runbooks_run(
    public_folder: Path, environ: dict[str, str]
) -> None:
    ports = {port: free_port() for port in (*NAMED.values(), CRM)}
    chosen = {f"EBBWATCH_{name}_PORT": str(ports[port]) for name, port in NAMED.items()}
    with Reader(copied(public_folder), environ | chosen, ports) as reader:
        reader.follow(ROOT / "docs/tutorial/first-event.md")
        reader.run(REFUSED.replace(":8081", f":{ports[8081]}"))
        for page in RUNBOOKS:
            reader.do(reader.blocks(page))
