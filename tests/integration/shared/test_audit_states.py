"""What the audit keeps before and after a change: every query on the real tables, and commands."""

import asyncio
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest
from pydantic import SecretStr

from services.alerts.store import audited as alerts
from services.ingest.store import audited as ingest
from services.scoring.store import audited as scoring
from shared.http.access import states_of
from shared.postgres.audit import Audit, Change, State, Wanted
from shared.postgres.engine import create_engine
from shared.postgres.migrations import migrate
from shared.postgres.settings import PostgresSettings
from tests.fakes.clock import SetClock

pytestmark = [pytest.mark.stack, pytest.mark.audit]

STATES: Final[Mapping[str, object]] = {
    "alerts": alerts,
    "ingest": ingest,
    "scoring": scoring,
}


@pytest.mark.parametrize("service", sorted(STATES))
async def test_every_state_can_be_read(database_url: str, service: str) -> None:
    """Whatever the key is: an entry is written before the route has checked it."""
    engine = create_engine(PostgresSettings(url=SecretStr(database_url)), "test")
    await migrate(engine, service, Path(f"services/{service}/store/versions"))
    audit, at = Audit(engine, service), SetClock().now()
    own = [value for value in vars(STATES[service]).values() if isinstance(value, State)]
    for state in (*own, *states_of(service)):
        for key in ("1", "9" * 40, "a'b\"", ""):
            change = Change(actor="a", origin="o", action="x", target={}, state=state, key=key)
            await audit.end(await audit.begin(change, at), change, "200", at)
    assert len(await audit.find(Wanted(), 1_000)) == 4 * (len(own) + 2)
    await engine.dispose()


async def _run(database_url: str, service: str, *words: str) -> str:
    """Run a command as an operator does; return what it prints."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", f"services.{service}", *words,
        env=os.environ | {"DATABASE_URL": database_url},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return out.decode()


async def test_commands_have_both_values(database_url: str) -> None:
    """Of a token, a segment and an absence; neither a token nor words about a customer."""
    await _run(database_url, "scoring", "migrate")
    made = await _run(
        database_url, "scoring",
        "tokens", "create", "--name", "console", "--scope", "on_behalf", "--scope", "admin",
    )  # fmt: skip
    token, secret = made.split()
    for rule in ("tier == 'high'", "tier == 'mid'"):
        await _run(database_url, "scoring", "segments", "define", "s-1", rule)
    dates = ("--from", "2026-03-01T00:00:00Z", "--until", "2026-04-01T00:00:00Z")
    about = ("absences", "announce", "ann-7", *dates, "--reason", "planted words")
    await _run(database_url, "scoring", *about)
    await _run(database_url, "scoring", "tokens", "revoke", "1")
    engine = create_engine(PostgresSettings(url=SecretStr(database_url)), "test")
    found = await Audit(engine, "scoring").find(Wanted(), 10)
    await engine.dispose()
    revoked, absence, changed, defined, created = found
    assert [entry.outcome for entry in found] == ["exit 0"] * 5
    assert created.before is None
    assert (created.after["name"], created.after["is_person"]) == ("console", False)
    assert (defined.before, defined.after["expression"]) == (None, "tier == 'high'")
    assert changed.before == defined.after
    assert changed.after["expression"] == "tier == 'mid'"
    assert (absence.before, absence.after["ends_at"][:10]) == (None, "2026-04-01")
    assert revoked.before["revoked_at"] is None
    assert revoked.after["revoked_at"] is not None
    listed = await _run(database_url, "scoring", "audit", "list", "--json")
    assert not any(word in listed for word in (token, secret, "ann-7", "planted words"))
