"""An export holds every row of the customer and of nobody else, as JSON and as CSV."""

import csv
import io
import json
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import numpy as np
import pytest
import sqlalchemy as sa
from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncEngine

from services.alerts.store import export as alerts
from services.ingest.store import export as ingest
from services.scoring.core.features.registry import FEATURES
from services.scoring.core.features.state import FEATURE_SET, empty, to_bytes
from services.scoring.core.risk.horizons import pack
from services.scoring.store import export as scoring
from services.scoring.store.export_fields import FIELDS
from services.scoring.store.tables import SCHEMA, api_token
from shared.http.access import Tokens
from shared.http.app import create_app
from shared.http.auditing import Auditing
from shared.http.borders import Limits
from shared.http.export_routes import add_export_routes
from shared.postgres.audit import Audit, Wanted
from shared.postgres.engine import create_engine, unit_of_work
from shared.postgres.export import CustomerExport
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
    add_export_routes(app, scoring.export_of(engine, "USD"), tokens, clock)
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
    assert found["data"]["event"]["fields"].keys() == found["data"]["event"]["rows"][0].keys()
    assert "USD" in found["about"]
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
        told = zipped.read("README.txt").decode()
        assert scoring.MEANINGS["absence"] in told
        assert f"announced_at: {FIELDS['announced_at']}" in told


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


async def test_bytes_are_told_in_words(client: httpx.AsyncClient, engine: AsyncEngine) -> None:
    """States, features, bands and what was set aside for an undo are readable."""
    state, features = to_bytes(empty(1))[0], np.arange(3, dtype="<f8").tobytes()
    async with unit_of_work(engine) as work:
        await work.driver.execute(
            "INSERT INTO scoring.customer_state (customer_id, partition, feature_set, state, band, "
            "assessed_at, horizons) VALUES ('ann', 0, $1, $2, 3, '2026-03-01Z', $3)",
            FEATURE_SET, state, pack([28], np.array([[0.25]]))[0],
        )  # fmt: skip
        await work.driver.execute(
            "INSERT INTO scoring.member VALUES ('ann', 'ann', NULL, '2026-03-01Z', $1, $2, "
            "(SELECT jsonb_build_object('profile', to_jsonb(p)) FROM scoring.profile p "
            "WHERE customer_id = 'ann'))",
            FEATURE_SET, state,
        )  # fmt: skip
        await work.driver.execute(
            "INSERT INTO scoring.assessment_history (recorded_at, customer_id, revision, "
            "assessed_at, probability, band, method, model_version, feature_set, horizon_days, "
            "features, message) VALUES ('2026-03-01Z', 'ann', 1, '2026-03-01Z', 0.5, 1, 'rule', "
            "'rule-2', 1, 28, $1, '{}')",
            features,
        )
    data = (await client.get("/v1/exports/ann")).json()["data"]
    (found,) = data["customer_state"]["rows"]
    assert (found["band"], found["horizons"]) == ("critical", {"28": 0.25})
    assert (found["state"]["purchases"], found["state"]["last_purchase_at"]) == (0, None)
    assert set(found["state"]["features"]) == {feature.name for feature in FEATURES}
    (found,) = data["member"]["rows"]
    assert found["frozen"]["profile"]["profile"] == {"name": "Ann", "language": "en"}
    (found,) = data["assessment_history"]["rows"]
    names = [feature.name for feature in FEATURES[:3]]
    assert found["features"] == dict(zip(names, [0.0, 1.0, 2.0], strict=True))
    assert "base64" not in json.dumps(data)


async def test_a_contact_is_given_nothing_of_the_account(engine: AsyncEngine) -> None:
    """A contact is a person: events of the account and of other contacts are not theirs."""
    async with unit_of_work(engine) as work:
        await work.driver.execute(
            "INSERT INTO scoring.member SELECT c, 'acme', a, '2026-03-01Z', 1, ''::bytea, '{}' "
            "FROM (VALUES ('acme', NULL), ('ann', 'acme'), ('bob', 'acme')) AS v(c, a)"
        )
        await work.driver.execute(
            "INSERT INTO scoring.event SELECT '2026-03-02Z', 'acme', c, 'io.ebbwatch.purchase', "
            "'2026-03-02Z', convert_to('{\"id\": \"late-' || c || '\"}', 'UTF8') "
            "FROM unnest(ARRAY['ann', 'bob', 'acme']) c"
        )
    export = scoring.export_of(engine, "USD")

    async def origins(asked: str) -> set[str]:
        return {
            row["original_customer_id"] async for name, row in export.rows(asked) if name == "event"
        }

    assert await origins("ann") == {"ann"}
    assert await origins("acme") == {"ann", "bob", "acme"}
    late = [row["payload"]["id"] async for name, row in export.rows("ann") if name == "event"]
    assert "late-ann" in late


def _exports(engine: AsyncEngine) -> list[CustomerExport]:
    return [
        ingest.export_of(engine, "USD"),
        scoring.export_of(engine, "USD"),
        alerts.export_of(engine),
    ]


def test_every_table_and_column_has_a_meaning(engine: AsyncEngine) -> None:
    """A person who reads the export knows what each part is; nothing is described in vain."""
    for export in _exports(engine):
        assert {table.name for table in export.tables} == set(export.meanings)
        exported = {t.name: set(export.columns(t)) for t in export.tables}
        words = {name for columns in exported.values() for name in columns}
        words |= {f"{table}.{name}" for table, columns in exported.items() for name in columns}
        assert export.fields.keys() <= words
        for table, columns in exported.items():
            for column in columns:
                assert export.fields.keys() & {column, f"{table}.{column}"}, (table, column)


def test_nothing_but_what_steers_the_processing_is_omitted(engine: AsyncEngine) -> None:
    """A column that holds bytes, a text, a time or JSON is exported."""
    telling = (sa.LargeBinary, sa.Text, sa.DateTime, sa.JSON)
    omitted = {
        f"{table.name}.{column.name}"
        for export in _exports(engine)
        for table in export.tables
        for column in table.c
        if column.name in export.omitted and isinstance(column.type, telling)
    }
    assert omitted == {
        "event_key.content_hash", "member_key.content_hash",
        "customer.ramp_until", "task.tell_at", "delivery.next_at", "attempt.next_at",
        "delivery.traceparent",
    }  # fmt: skip
