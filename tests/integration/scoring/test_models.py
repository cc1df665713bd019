"""The life of a model on the real tables, by the real commands, and under the running service."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from deploy.local.stack import LocalStack
from services.scoring.core.features.state import FEATURE_SET
from services.scoring.model.churn_model import ChurnModel, dumps
from services.scoring.model.loading import loads
from services.scoring.model.store import ArtefactStore
from services.scoring.store.models import ModelRow, Models
from shared.kernel.errors import Invalid
from tests.fakes import activity
from tests.fakes.log import MemoryLog
from tests.fakes.model import tiny_model
from tests.integration.scoring.postgres import assessments, promoted, table
from tests.integration.scoring.running import LIMIT_S, ServiceEnvironment, place, scoring

pytestmark = pytest.mark.stack

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


async def registered(models: Models, *versions: str) -> None:
    """Add models to the registry, without artefacts."""
    for version in versions:
        await models.register(
            ModelRow(
                version=version,
                digest="0" * 64,
                feature_set=FEATURE_SET,
                horizon_days=28,
                created_at=NOW,
            )
        )


async def serving(models: Models) -> str | None:
    """Return the version of the serving model."""
    row = await models.serving()
    return None if row is None else row.version


async def test_rollbacks_walk_back_one_by_one(engine: AsyncEngine) -> None:
    """Each rollback returns to the model that served before, down to the rule.

    A promotion in between starts a new branch.
    """
    models = Models(engine)
    await registered(models, "a", "b", "c", "d")
    assert await serving(models) is None
    for version in ("a", "b", "c"):
        await models.promote(version, "passed the gate", NOW)
    assert (await models.rollback("worse", NOW)).version == "b"
    await models.promote("d", "passed the gate", NOW)
    found = []
    for _ in range(3):
        await models.rollback("worse", NOW)
        found.append(await serving(models))
    assert found == ["b", "a", None]
    with pytest.raises(Invalid, match="nothing before it"):
        await models.rollback("worse", NOW)
    actions = [line.action for line in await models.promotions()]
    assert actions == ["rollback"] * 3 + ["promote", "rollback"] + ["promote"] * 3


async def test_promotions_at_the_same_time_follow_one_another(engine: AsyncEngine) -> None:
    """Each promotion refers to the one before it: no entry of the log skips another."""
    models = Models(engine)
    await registered(models, *"abcdefgh")
    await asyncio.gather(*(models.promote(v, "race", NOW) for v in "abcdefgh"))
    log = (await models.promotions())[::-1]
    assert [line.before_id for line in log] == [None, *(line.id for line in log[:-1])]


async def test_one_challenger_at_most_and_none_that_serves(engine: AsyncEngine) -> None:
    models = Models(engine)
    await registered(models, "a", "b")
    await models.challenge("a", NOW)
    await models.challenge("b", NOW)
    row = await models.shadow()
    assert row is not None
    assert row.version == "b"
    await models.promote("b", "passed the gate", NOW)
    assert await models.shadow() is None


async def test_a_version_may_be_named_by_its_beginning(engine: AsyncEngine) -> None:
    models = Models(engine)
    await registered(models, "lgbm-1a", "lgbm-1b", "lgbm-1")
    assert (await models.find("lgbm-1a")).version == "lgbm-1a"
    assert (await models.find("lgbm-1")).version == "lgbm-1"
    for bad, words in (("lgbm", "several begin so"), ("x", "there is none"), ("%", "none")):
        with pytest.raises(Invalid, match=words):
            await models.find(bad)


@pytest.fixture
async def made(stack: LocalStack, database_url: str) -> AsyncIterator[ServiceEnvironment]:
    """Provide the test's own topics and tables."""
    async with place(stack, database_url, 2) as opened:
        yield opened


async def kept(made: ServiceEnvironment, folder: Path, model: ChurnModel, *, passed: bool) -> None:
    """Store a model in the registry and in the folder."""
    await Models(made.engine).register(
        ModelRow(
            version=model.version,
            digest=ArtefactStore(folder).put(dumps(model)),
            feature_set=FEATURE_SET,
            horizon_days=28,
            created_at=NOW,
            passed=passed,
            gate='{"against": null, "reasons": ["clearly worse than recency"]}',
        )
    )


async def test_an_operator_promotes_rolls_back_and_compares(
    made: ServiceEnvironment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refused model needs a reason to be promoted; a challenger scores beside the champion.

    A rollback returns to the model before.
    """
    monkeypatch.setenv("EBBWATCH_SCORING_MODEL_STORE", str(tmp_path))
    good, bad = tiny_model(1), tiny_model(2)
    await kept(made, tmp_path, good, passed=True)
    await kept(made, tmp_path, bad, passed=False)
    assert "serves from now on" in await made.command("models", "promote", good.version)
    assert "did not pass the gate" in await made.command("models", "promote", bad.version, status=1)
    assert "scores beside" in await made.command("models", "shadow", bad.version[:9])
    listed = await made.command("models", "list")
    assert f"{good.version:<20}" in listed
    assert "kept challenger since" in listed
    await made.command("models", "promote", bad.version, "--force", "the owner wants it")
    assert (await Models(made.engine).promotions())[0].reason == "the owner wants it"
    assert f"{good.version} serves again" in await made.command("models", "rollback")


@pytest.mark.timeout(300)
async def test_an_operator_is_refused_what_could_not_serve(
    made: ServiceEnvironment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commands refuse what could not serve, and show why a model was kept.

    Refused are a missing artefact, a challenge to itself, and a rollback without a predecessor.
    """
    monkeypatch.setenv("EBBWATCH_SCORING_MODEL_STORE", str(tmp_path))
    assert "nothing before it" in await made.command("models", "rollback", status=1)
    model = tiny_model(1)
    await kept(made, tmp_path, model, passed=False)
    assert "clearly worse than recency" in await made.command("models", "show", model.version)
    models = Models(made.engine)
    await models.promote(model.version, "a test", NOW)
    assert "cannot challenge itself" in await made.command(
        "models", "shadow", model.version, status=1
    )
    await registered(models, "lgbm-gone")
    assert "is not in" in await made.command("models", "promote", "lgbm-gone", status=1)


@pytest.mark.timeout(300)
async def test_watching_and_retraining_by_command(
    made: ServiceEnvironment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model that was just trained and raises no alarm needs nothing.

    Without any training retraining is due, though there is nothing to learn from.
    """
    monkeypatch.setenv("EBBWATCH_SCORING_MODEL_STORE", str(tmp_path))
    shown = await made.command("models", "watch")
    assert [line.split()[:2] for line in shown.splitlines()[1:]] == [
        ["alarm", "drift"], ["alarm", "level"], ["alarm", "ranking"],
    ]  # fmt: skip
    assert "there are none" in await made.command("retrain", status=1)
    models = Models(made.engine)
    await models.register(
        ModelRow(
            version="a",
            digest="0" * 64,
            feature_set=FEATURE_SET,
            horizon_days=28,
            created_at=NOW,
            trained_at=NOW,
        )
    )
    again = ("retrain", "--end", (NOW + timedelta(days=3)).isoformat())
    assert "nothing to do" in await made.command(*again)
    async with models.training() as alone:
        assert alone
        assert "another training is under way" in await made.command(*again)


@pytest.mark.timeout(300)
async def test_hot_swaps_and_a_challenger_under_load(
    made: ServiceEnvironment, tmp_path: Path
) -> None:
    """While events flow, models are promoted, rolled back and challenged.

    Every stored number comes from the model that it names; the challenger's uses the same features.
    """
    one, two = tiny_model(1), tiny_model(2)
    store, models = ArtefactStore(tmp_path), Models(made.engine)
    await kept(made, tmp_path, two, passed=True)
    settings = {"MODEL_STORE": str(tmp_path), "MODEL_POLL_S": "0.02", "BATCH_RECORDS_MAX": "20"}
    async with scoring(made, **settings) as service:
        await service.until("/readyz", 200)
        sent = 0

        async def flow() -> None:
            nonlocal sent
            log = MemoryLog("activity")
            at = datetime.now(UTC) - timedelta(days=1 + sent / 40)
            for n in range(sent, sent + 40):
                log.append(n % 2, activity.event(f"e{n}", f"c{n}", at))
            sent += 40
            await made.send(log)
            await made.reached(sent)

        async def flow_until(name: str, column: str, version: str) -> None:
            async with asyncio.timeout(LIMIT_S):
                while version not in {row[column] for row in await table(made.engine, name)}:
                    await flow()

        await flow()
        await promoted(models, one.version, store.put(dumps(one)), NOW)
        await flow_until("customer_state", "model_version", one.version)
        await models.challenge(two.version, NOW)
        await flow_until("shadow_score", "version", two.version)
        await models.promote(two.version, "a test", NOW)
        await flow_until("customer_state", "model_version", two.version)
        await models.rollback("a test", NOW)
        await flow()
        assert await service.stop() == 0
    loaded = {m.version: loads(dumps(m)) for m in (one, two)}
    features = {}
    seen = set()
    for row in await assessments(made.engine):
        x = np.frombuffer(row["features"], "<f8")[None, :]
        features[row["customer_id"]] = x
        seen.add(row["model_version"])
        if row["model_version"] in loaded:
            assert loaded[row["model_version"]].predict(x)[0] == row["probability"]
    assert {"rule-1", one.version, two.version} <= seen
    beside = await table(made.engine, "shadow_score")
    assert {row["version"] for row in beside} == {two.version}
    assert {row["champion"] for row in beside} == {one.version}
    for row in beside:
        assert two.predict(features[row["customer_id"]])[0] == row["probability"]
