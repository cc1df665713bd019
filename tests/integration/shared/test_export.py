"""An export holds every row of the customer and of nobody else, as JSON and as CSV."""

import csv
import io
import json
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncEngine

from services.alerts.store import export as alerts
from services.scoring.store import export as scoring
from services.scoring.store.tables import SCHEMA, api_token
from shared.http.access import Tokens
from shared.http.app import create_app
from shared.http.auditing import Auditing
from shared.http.borders import Limits
from shared.http.export_routes import add_export_routes
from shared.postgres.audit import Audit, Wanted
from shared.postgres.engine import create_engine, unit_of_work
from shared.postgres.migrations import migrate
from shared.postgres.settings import PostgresSettings
from shared.runtime.health import Health
from tests.fakes.clock import SetClock

pytestmark = [pytest.mark.stack, pytest.mark.access]

ROWS = """
INSERT INTO scoring.profile (customer_id, changed_at, event_id, profile) VALUES
  ('ann', '2026-03-01', 'p', '{"name": "Ann", "language": "en"}'),
  ('bob', '2026-03-01', 'p', '{"name": "Bob"}');
INSERT INTO scoring.event (recorded_at, customer_id, original_customer_id, type, time, payload)
  SELECT '2026-03-01', c, c, 'io.ebbwatch.purchase', '2026-03-01',
         convert_to('{"id": "' || c || n || '", "data": {"amount": 5}}', 'UTF8')
    FROM unnest(ARRAY['ann', 'bob']) c, generate_series(1, 600) n;
INSERT INTO scoring.absence (customer_id, begins_at, ends_at, reason, announced_at)
  VALUES ('ann', '2026-03-01', '2026-04-01', '=HYPERLINK("http://x")', '2026-02-01');
"""


@pytest.fixture
async def engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    """Provide scoring's tables, with two customers."""
    engine = create_engine(PostgresSettings(url=SecretStr(database_url)), "test")
    await migrate(engine, SCHEMA, Path("services/scoring/store/versions"))
    async with unit_of_work(engine) as work:
        await work.driver.execute(ROWS)
    yield engine
    await engine.dispose()


@pytest.fixture
async def client(engine: AsyncEngine) -> AsyncIterator[httpx.AsyncClient]:
    """Provide a client that may export."""
    clock = SetClock()
    tokens = Tokens(engine, api_token, clock)
    token = await tokens.create("officer", ["customers:export"])
    auditing = Auditing(entries=Audit(engine, SCHEMA), clock=clock)
    app = create_app("test", Health(clock), Limits(guard=tokens, audit=auditing))
    add_export_routes(app, scoring.export_of(engine), scoring.MEANINGS, tokens, clock)
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app),
        base_url="http://t",
        headers={"Authorization": f"Bearer {token}"},
    ) as made:
        yield made


async def test_the_document_is_complete(client: httpx.AsyncClient) -> None:
    """Every table with rows, each with its meaning, and nobody else's."""
    answer = await client.get("/v1/exports/ann")
    found = answer.json()
    assert found["customer_id"] == "ann"
    assert list(found["data"]) == ["profile", "event", "absence"]
    assert found["data"]["profile"]["rows"][0]["profile"] == {"name": "Ann", "language": "en"}
    events = [row["payload"]["id"] for row in found["data"]["event"]["rows"]]
    assert sorted(events) == sorted(f"ann{n}" for n in range(1, 601))
    assert found["data"]["event"]["meaning"] == scoring.MEANINGS["event"]
    assert "Bob" not in answer.text
    assert "bob" not in answer.text


async def test_the_archive_opens_in_a_spreadsheet(client: httpx.AsyncClient) -> None:
    """One CSV per table; a text that looks like a formula is not one."""
    answer = await client.get("/v1/exports/ann?format=csv")
    with zipfile.ZipFile(io.BytesIO(answer.content)) as zipped:
        assert set(zipped.namelist()) == {"profile.csv", "event.csv", "absence.csv", "README.txt"}
        rows = list(csv.DictReader(io.StringIO(zipped.read("event.csv").decode("utf-8-sig"))))
        assert len(rows) == 600
        assert json.loads(rows[0]["payload"])["data"] == {"amount": 5}
        (absence,) = csv.DictReader(io.StringIO(zipped.read("absence.csv").decode("utf-8-sig")))
        assert absence["reason"].startswith("'=HYPERLINK")
        assert scoring.MEANINGS["absence"] in zipped.read("README.txt").decode()


async def test_an_export_is_audited_and_needs_its_scope(
    client: httpx.AsyncClient, engine: AsyncEngine
) -> None:
    """Reading all of a person leaves an entry; an id without rows is answered so."""
    await client.get("/v1/exports/ann")
    (entry,) = await Audit(engine, SCHEMA).find(Wanted(customer_id="ann"), 10)
    assert (entry.actor, entry.outcome) == ("officer", "200")
    assert (await client.get("/v1/exports/nobody")).status_code == 404
    reader = await Tokens(engine, api_token, SetClock()).create("reader", ["customers:read"])
    headers = {"Authorization": f"Bearer {reader}"}
    assert (await client.get("/v1/exports/ann", headers=headers)).status_code == 403


@pytest.mark.parametrize("service", [scoring, alerts])
def test_every_table_has_a_meaning(service: object, engine: AsyncEngine) -> None:
    """A person who reads the export knows what each part is."""
    export = service.export_of(engine)  # type: ignore[attr-defined] # two modules of one shape
    assert {table.name for table in export.tables} == set(service.MEANINGS)  # type: ignore[attr-defined]
