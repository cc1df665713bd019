"""Which model serves: the rule until one is promoted, then that one, swapped whole."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

import pytest

from services.scoring.handlers.serving import Serving
from services.scoring.model.churn_model import dumps, loads
from services.scoring.model.rule_model import RuleModel
from services.scoring.model.store import ArtefactStore
from shared.kernel.errors import Invalid, Transient
from shared.runtime.service import Stop
from tests.fakes.model import tiny_model

LIMIT_S = 20.0


@dataclass(frozen=True, slots=True)
class Row:
    """A registry row."""

    version: str
    digest: str


class Registry:
    """Says what the test wants, or that it is away."""

    def __init__(self) -> None:
        self.row: Row | None = None
        self.away = 0
        self.asked = 0

    async def serving(self) -> Row | None:
        """The promoted one."""
        self.asked += 1
        if self.away:
            self.away -= 1
            raise Transient("PostgreSQL is not there")
        return self.row


@pytest.fixture
def registry() -> Registry:
    """With no model."""
    return Registry()


@pytest.fixture
def artefacts(tmp_path: Path) -> ArtefactStore:
    """An empty folder."""
    return ArtefactStore(tmp_path)


@pytest.fixture
def serving(registry: Registry, artefacts: ArtefactStore) -> Serving:
    """Looks every hundredth of a second."""
    return Serving(registry, artefacts, loads, RuleModel(28), 0.01)


async def test_the_rule_serves_until_there_is_a_model(
    serving: Serving, registry: Registry, artefacts: ArtefactStore
) -> None:
    """And a promoted one from the next refresh on; not checked before the registry was read."""
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
    serving: Serving, registry: Registry, artefacts: ArtefactStore
) -> None:
    """A look that finds the one in use leaves it alone."""
    model = tiny_model()
    registry.row = Row(model.version, artefacts.put(dumps(model)))
    await serving.refresh()
    before = serving.current()
    await serving.refresh()
    assert serving.current() is before


async def test_a_model_that_cannot_be_read_is_a_fault(
    serving: Serving, registry: Registry, artefacts: ArtefactStore
) -> None:
    """Missing or damaged: Invalid, and the one in use stays in use."""
    registry.row = Row("lgbm-x", "0" * 64)
    with pytest.raises(Invalid):
        await serving.refresh()
    registry.row = Row("lgbm-x", artefacts.put(b"{}"))
    with pytest.raises(Invalid):
        await serving.refresh()
    assert serving.current().method == "rule"
    assert not serving.checked


async def test_watching_outlives_the_database(
    serving: Serving, registry: Registry, artefacts: ArtefactStore
) -> None:
    """While the registry is away the model in use serves; when it is back, the promoted one."""
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
