"""Which model serves: the rule until one is promoted, then that one, swapped as a whole."""

import asyncio
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.scoring import metrics
from services.scoring.handlers.model_serving import ModelServing
from services.scoring.model.churn_model import dumps, loads
from services.scoring.model.rule_model import RuleModel
from services.scoring.model.store import ArtefactStore
from shared.kernel.errors import Transient
from shared.runtime.service import Stop
from tests.fakes.model import tiny_model

LIMIT_S = 20.0


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the registry."""

    version: str
    digest: str
    created_at: datetime = datetime(2026, 1, 1, tzinfo=UTC)


class Registry:
    """A registry that returns what the test sets, or fails as if it were away."""

    def __init__(self) -> None:
        self.row: Row | None = None
        self.challenger: Row | None = None
        self.away = 0
        self.asked = 0

    async def serving(self) -> Row | None:
        """Return the promoted model."""
        self.asked += 1
        if self.away:
            self.away -= 1
            raise Transient("PostgreSQL is not there")
        return self.row

    async def shadow(self) -> Row | None:
        """Return the challenger."""
        return self.challenger


@pytest.fixture
def registry() -> Registry:
    """Provide a registry without a model."""
    return Registry()


@pytest.fixture
def artefacts(tmp_path: Path) -> ArtefactStore:
    """Provide an empty folder."""
    return ArtefactStore(tmp_path)


@pytest.fixture
def serving(registry: Registry, artefacts: ArtefactStore) -> ModelServing:
    """Provide serving with a refresh every hundredth of a second."""
    return ModelServing(registry, artefacts, loads, RuleModel(28), 0.01)


async def test_the_rule_serves_until_there_is_a_model(
    serving: ModelServing, registry: Registry, artefacts: ArtefactStore
) -> None:
    """A promoted model serves from the next refresh on.

    The check fails before the registry was read.
    """
    assert not serving.checked
    assert serving.current().method == "rule"
    await serving.refresh()
    assert serving.checked
    assert serving.current().method == "rule"
    for seed in (1, 2):
        model = tiny_model(seed)
        registry.row = Row(model.version, artefacts.put(dumps(model)))
        await serving.refresh()
        assert serving.current().version == model.version


async def test_the_same_model_is_loaded_once(
    serving: ModelServing, registry: Registry, artefacts: ArtefactStore
) -> None:
    """A refresh that finds the model in use keeps it."""
    model = tiny_model()
    registry.row = Row(model.version, artefacts.put(dumps(model)))
    await serving.refresh()
    before = serving.current()
    await serving.refresh()
    assert serving.current() is before


@given(data=st.none() | st.binary(max_size=40) | st.sampled_from([b"{}", b'{"kind":"pooled"}']))
def test_a_model_that_cannot_be_read_ends_nothing(
    tmp_path_factory: pytest.TempPathFactory, data: bytes | None
) -> None:
    """The model is missing or damaged, at a start too: the rule serves, with the reason logged.

    The model serves as soon as it can be read.
    """
    artefacts, registry = ArtefactStore(tmp_path_factory.mktemp("models")), Registry()
    model = tiny_model()
    registry.row = Row("lgbm-x", "0" * 64 if data is None else artefacts.put(data))

    async def story() -> None:
        serving = ModelServing(registry, artefacts, loads, RuleModel(28), 0.01)
        for _ in range(2):
            await serving.refresh()
            assert serving.checked
            assert serving.current().method == "rule"
            assert serving.unusable is not None
            assert serving.unusable.startswith("lgbm-x: ")
            assert serving.damaged == serving.unusable
            assert serving.made_at is None
            assert metrics.MODEL_UNUSABLE._value.get() == 1
        registry.row = Row(model.version, artefacts.put(dumps(model)))
        await serving.refresh()
        assert serving.current().version == model.version
        assert serving.unusable is serving.damaged is None
        assert serving.made_at == registry.row.created_at

    asyncio.run(story())


async def test_what_is_unusable_is_so_no_longer_after_a_rollback(
    serving: ModelServing, registry: Registry, artefacts: ArtefactStore
) -> None:
    """After a rollback to the serving model, and to one that cannot serve here."""
    model = tiny_model()
    usable = registry.row = Row(model.version, artefacts.put(dumps(model)))
    document = {**json.loads(dumps(model)), "feature_set": 99}
    other = Row("lgbm-old", artefacts.put(json.dumps(document).encode()))
    await serving.refresh()
    registry.row = Row("lgbm-x", "0" * 64)
    await serving.refresh()
    assert serving.current().version == model.version
    assert serving.unusable is not None
    registry.row = usable
    await serving.refresh()
    assert serving.unusable is None
    for registry.row, method in ((other, "rule"), (usable, "model"), (other, "rule")):
        await serving.refresh()
        assert serving.current().method == method
        assert (serving.unusable is None) is (method == "model")
        assert serving.damaged is None, "a model of another release is not damaged"


async def test_watching_outlives_the_database(
    serving: ModelServing, registry: Registry, artefacts: ArtefactStore
) -> None:
    """While the registry is away the model in use serves; afterwards the promoted one."""
    stop = Stop()
    registry.away = 3
    model = tiny_model()
    registry.row = Row(model.version, artefacts.put(dumps(model)))
    watching = asyncio.create_task(serving.watch(stop))
    async with asyncio.timeout(LIMIT_S):
        while serving.current().version != model.version:  # noqa: ASYNC110 (no event)
            await asyncio.sleep(0.005)
    assert registry.asked >= 4
    stop.set()
    async with asyncio.timeout(LIMIT_S):
        await watching


async def test_a_rollback_past_the_first_model_brings_the_rule_back(
    serving: ModelServing, registry: Registry, artefacts: ArtefactStore
) -> None:
    """With nothing promoted any more the rule serves, not the model that is still in memory."""
    model = tiny_model()
    registry.row = Row(model.version, artefacts.put(dumps(model)))
    await serving.refresh()
    registry.row = None
    await serving.refresh()
    assert serving.current().method == "rule"


async def test_a_model_of_another_release_leaves_the_rule_in_its_place(
    serving: ModelServing, registry: Registry, artefacts: ArtefactStore
) -> None:
    """An upgrade with other features must not stop the service.

    The rule scores until a model is trained, and the metric shows that the promoted one does not
    serve.
    """
    document = {**json.loads(dumps(tiny_model())), "feature_set": 99}
    registry.row = Row("lgbm-old", artefacts.put(json.dumps(document).encode()))
    await serving.refresh()
    assert serving.checked
    assert serving.current().method == "rule"
    assert metrics.MODEL_UNUSABLE._value.get() == 1
    model = tiny_model()
    registry.row = Row(model.version, artefacts.put(dumps(model)))
    await serving.refresh()
    assert serving.current().version == model.version
    assert metrics.MODEL_UNUSABLE._value.get() == 0


async def test_a_bad_promotion_while_running_leaves_the_model_in_use(
    serving: ModelServing, registry: Registry, artefacts: ArtefactStore
) -> None:
    """The artefact is damaged: no crash, no other model, and the metric shows it."""
    model, stop = tiny_model(), Stop()
    registry.row = Row(model.version, artefacts.put(dumps(model)))
    await serving.refresh()
    registry.row = Row("lgbm-x", artefacts.put(b"{}"))
    watching = asyncio.create_task(serving.watch(stop))
    async with asyncio.timeout(LIMIT_S):
        while registry.asked < 4:  # noqa: ASYNC110 (no event)
            await asyncio.sleep(0.005)
    stop.set()
    async with asyncio.timeout(LIMIT_S):
        await watching
    assert serving.current().version == model.version
    assert metrics.MODEL_UNUSABLE._value.get() == 1


async def test_a_challenger_comes_and_goes_and_never_disturbs(
    serving: ModelServing, registry: Registry, artefacts: ArtefactStore
) -> None:
    """A challenger that cannot be read does not count; the champion is the same throughout."""
    model = tiny_model(3)
    registry.challenger = Row(model.version, artefacts.put(dumps(model)))
    await serving.refresh()
    found = serving.challenger()
    assert found is not None
    assert found.version == model.version
    registry.challenger = Row("lgbm-y", artefacts.put(b"{}"))
    await serving.refresh()
    assert serving.challenger() is None
    registry.challenger = None
    await serving.refresh()
    assert serving.challenger() is None
    assert serving.current().method == "rule"
