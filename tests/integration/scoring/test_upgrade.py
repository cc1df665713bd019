"""Upgrades of a database in use keep what was stored and what waits to be sent."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import orjson
import pytest
from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncEngine

from services.scoring.core.features.state import FEATURE_SET, empty, to_bytes
from services.scoring.core.risk.lapse import LapseClock
from services.scoring.core.value import policy as policies
from services.scoring.handlers.value_policy_cache import ValuePolicyCache
from services.scoring.store.definitions import Decisions
from services.scoring.store.tables import SCHEMA
from services.scoring.store.value_settings import ValueSettings
from shared.postgres.engine import create_engine, unit_of_work
from shared.postgres.migrations import migrate
from shared.postgres.outbox import Message, Outbox
from shared.postgres.settings import PostgresSettings
from tests.fakes.activity import day
from tests.fakes.item_failures import no_failures
from tests.integration.scoring.conftest import VERSIONS
from tests.integration.scoring.postgres import PostgresStore, table

pytestmark = pytest.mark.stack

STATE = to_bytes(empty(1))[0]


@pytest.fixture
def tables_of() -> None:
    """Let databases begin without tables: each test creates those of an earlier version."""


@pytest.fixture
async def older(database_url: str, tmp_path: Path) -> AsyncIterator[AsyncEngine]:
    """Provide a database from before a state and its assessment were one row."""
    for version in sorted(VERSIONS.glob("000[1-8]_*.py")):
        shutil.copy(version, tmp_path)
    made = create_engine(PostgresSettings(url=SecretStr(database_url)), "test")
    await migrate(made, SCHEMA, tmp_path)
    yield made
    await made.dispose()


async def test_an_assessment_joins_its_state(older: AsyncEngine) -> None:
    """Everything published is kept; a customer who was never assessed keeps a state alone."""
    async with unit_of_work(older) as work:
        for name in ("ann", "bob"):
            await work.driver.execute(
                "INSERT INTO scoring.customer_state VALUES ($1, 3, $2, $3)",
                name, FEATURE_SET, STATE,
            )  # fmt: skip
        await work.driver.execute(
            "INSERT INTO scoring.assessment (customer_id, revision, assessed_at, probability, band,"
            " method, model_version, feature_set, horizon_days, features, horizons, look_at,"
            " published_at, published_probability, published_band, published_reason,"
            " published_value_at_risk) VALUES ('ann', 7, $1, 0.5, 2, 'rule', 'rule-1', 3, 28, 'x',"
            " 'y', $2, $1, 0.25, 1, 'gone', 9.5)",
            day(1),
            day(4),
        )
    await migrate(older, SCHEMA, VERSIONS)
    ann, bob = await table(older, "customer_state")
    assert (ann["state"], ann["revision"], ann["assessed_at"]) == (STATE, 7, day(1))
    assert (ann["probability"], ann["band"], ann["look_at"]) == (0.5, 2, day(4))
    assert (ann["method"], ann["model_version"], ann["assessed_feature_set"]) == (
        "rule", "rule-1", 3,
    )  # fmt: skip
    assert (ann["horizon_days"], ann["horizons"]) == (28, b"y")
    assert (ann["published_at"], ann["published_probability"]) == (day(1), 0.25)
    # The one leading reason was not a set of signs: no sign is known to be published.
    assert (ann["published_band"], ann["published_signs"]) == (1, None)
    assert ann["published_value_at_risk"] == 9.5
    assert (bob["state"], bob["revision"], bob["published_at"]) == (STATE, None, None)
    store = PostgresStore(older)
    async with store.open() as work:
        read = await store.load(work, ["ann", "bob"], np.full(2, np.nan))
        assert read.revision.tolist() == [7, 0]
        assert read.published_band.tolist() == [1, -1]
        assert read.published_signs.tolist() == [0, 0]


async def test_what_waits_to_be_sent_still_waits(older: AsyncEngine) -> None:
    """Waiting messages keep their order and their headers."""
    waiting = [
        Message(("activity", 1), "risk", b"ann", b"{}", (("h", b"\0\xff"), ("h", b""))),
        Message(("activity", 1), "dead", None, None),
    ]
    async with unit_of_work(older) as work:
        for m in waiting:
            packed = (
                orjson.dumps([(k, (v or b"").hex()) for k, v in m.headers]) if m.headers else None
            )
            await work.driver.execute(
                "INSERT INTO scoring.outbox"
                " (cause_topic, cause_partition, topic, key, value, headers)"
                " VALUES ($1, $2, $3, $4, $5, $6)",
                *m.cause, m.topic, m.key, m.value, packed,
            )  # fmt: skip
    await migrate(older, SCHEMA, VERSIONS)
    async with unit_of_work(older) as work:
        found = await Outbox(SCHEMA).pending(work, ("activity", 1))
    assert [message for parcel in found for message in parcel.messages] == waiting


async def test_a_policy_saved_before_keeps_its_thresholds_but_for_the_one_that_went(
    database_url: str, tmp_path: Path
) -> None:
    """`mature_days`, the bound of growth by youth alone, is gone.

    A stored policy names every field.
    """
    before = tmp_path / "versions"
    later = shutil.ignore_patterns("__pycache__", *(f"00{n:02}_*" for n in range(7, 100)))
    shutil.copytree(VERSIONS, before, ignore=later)
    made = create_engine(PostgresSettings(url=SecretStr(database_url)), "test")
    try:
        await migrate(made, SCHEMA, before)
        await Decisions(made).save_policy('{"margin":0.2,"mature_days":365.0}', "old", day(0))
        await migrate(made, SCHEMA, VERSIONS)
        valuing = ValuePolicyCache(ValueSettings(made), 1.0, LapseClock(), no_failures())
        await valuing.refresh()
    finally:
        await made.dispose()
    assert valuing.current().policy == policies.ValuePolicy(margin=0.2)
