"""This version continues from the customers and tasks that an earlier version stored."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from services.alerts.store.customers import Customers
from services.alerts.store.tables import SCHEMA
from shared.postgres.engine import create_engine, unit_of_work
from shared.postgres.migrations import migrate
from shared.postgres.settings import PostgresSettings
from tests.integration.alerts.conftest import VERSIONS
from tests.integration.alerts.harness import AlertsHarness, rows
from tests.unit.alerts.samples import assessed, day, sign

pytestmark = pytest.mark.stack

BEFORE = """
INSERT INTO alerts.customer (customer_id, revision, band, armed, raised_at, episode) VALUES
  ('warned', 4, 'high', false, '2017-10-02T09:00Z', 1),
  ('left', 4, 'low', true, '2017-10-02T09:00Z', 2),
  ('held', 4, 'high', false, '2017-10-02T09:00Z', 1),
  ('new', 4, 'low', true, NULL, 0);
INSERT INTO alerts.task (customer_id, id, cause, episode, status, version, language, band,
  probability, horizon_days, reasons, expected_value, value_at_risk, currency, revision,
  model_version, opened_at, due_at, created_at, received_ms, kind, closed_at, close_reason,
  verdict, leaving_cause)
SELECT c, 't-' || c || n, cause, 1, status, 1, 'en', 'high', 0.6, 28, '[]', 1, 1, 'USD', 1, 'm',
  at, at, at, 0, kind, closed, reason, verdict, leaving
  FROM (VALUES
    ('warned', 1, 'silence_beyond_rhythm', 'open', '2017-10-02T09:00Z'::timestamptz, 'retention',
     NULL::timestamptz, NULL, NULL, NULL),
    ('warned', 2, 'care:birthday', 'open', '2017-10-02T09:00Z', 'care', NULL, NULL, NULL, NULL),
    ('left', 1, 'frequency_falling', 'closed', '2017-08-02T09:00Z', 'retention',
     '2017-08-03T09:00Z', 'verdict', 'leaving', 'price'),
    ('left', 2, 'churned', 'closed', '2017-10-02T09:00Z', 'win_back', '2017-10-03T09:00Z',
     'expired', NULL, NULL)) AS v (c, n, cause, status, at, kind, closed, reason, verdict, leaving);
INSERT INTO alerts.trial (customer_id, id, policy, policy_version, arm, eligible, at, until, cause,
  playbook, segments, revision, probability, value_at_risk)
VALUES ('held', 't-held', 'p', 1, 'held_out', true, '2017-10-02T09:00Z', '2017-10-30T09:00Z',
  'silence_beyond_rhythm', 'any', '[]', 1, 0.6, 60);
"""


@pytest.fixture
def tables_of() -> None:
    """Let databases begin without tables: each test creates those of an earlier version."""


async def test_states_and_tasks_of_version_8_load(database_url: str, tmp_path: Path) -> None:
    """A sign that had its task is marked by cause, also for customers who were held out."""
    earlier = tmp_path / "versions"
    shutil.copytree(
        VERSIONS, earlier, ignore=shutil.ignore_patterns("0009_*", "001*", "__pycache__")
    )
    engine = create_engine(PostgresSettings(url=SecretStr(database_url), pool_size=10), "test")
    try:
        await migrate(engine, SCHEMA, earlier)
        async with unit_of_work(engine) as work:
            await work.driver.execute(BEFORE)
        await migrate(engine, SCHEMA, VERSIONS)
        async with unit_of_work(engine) as work:
            known = await Customers().lock(work, ["warned", "left", "held", "new"])
        states = {name: found.state for name, found in known.items()}
        marks = {n: [(w.cause, w.at, w.armed) for w in s.warned] for n, s in states.items()}
        assert marks == {
            "warned": [("silence_beyond_rhythm", day(0), False)],
            "left": [("churned", day(0), True), ("frequency_falling", day(-61), True)],
            "held": [("silence_beyond_rhythm", day(0), False)],
            "new": [],
        }
        assert (states["left"].leaving_cause, states["left"].leaving_at) == ("price", day(-60))
        assert [(t.causes, t.by_risk) for t in states["warned"].open] == [
            (("silence_beyond_rhythm",), True),
            (("care:birthday",), False),
        ]
        await _goes_on(AlertsHarness(engine, endpoints={"crm": "http://127.0.0.1:9/hook"}))
    finally:
        await engine.dispose()


async def _goes_on(bench: AlertsHarness) -> None:
    """The same sign raises nothing more, another one joins, and a new customer is warned about."""
    signs = [sign("silence_beyond_rhythm")]
    more: dict[str, Any] = {"last_purchase_at": day(-20), "signs": signs}
    both = [*signs, sign("value_falling")]
    async with bench:
        await bench.read_risk(
            assessed(5, 1, customer_id="held", **more),
            assessed(5, 1, customer_id="new", **more),
            assessed(5, 1, customer_id="warned", **more),
            assessed(6, 2, customer_id="warned", **more | {"signs": both}),
        )  # fmt: skip
        found = await rows(
            bench.engine,
            "SELECT customer_id, causes FROM alerts.task "
            "WHERE status = 'open' AND kind <> 'care' ORDER BY 1",
        )
        assert found == [
            ("new", ["silence_beyond_rhythm"]),
            ("warned", ["silence_beyond_rhythm", "value_falling"]),
        ]
