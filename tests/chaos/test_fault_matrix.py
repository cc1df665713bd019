"""The chaos suite's short profile: every row of the fault matrix once, on its own servers."""

import asyncio
from collections.abc import Iterator
from os import environ

import pytest

from deploy.local.stack import DATA
from tests.chaos.__main__ import CUSTOMERS, SEED
from tests.chaos.environment import Stand, Story
from tests.chaos.faults import FAULTS, Fault, play
from tests.conftest import WORKER

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def stand() -> Iterator[Stand]:
    """A broker and a PostgreSQL that no other test uses when they break."""
    with Stand.built(DATA / "test" / f"{WORKER}-chaos", environ) as built:
        yield built


@pytest.fixture(scope="module")
def story() -> Story:
    """The history and its reference."""
    return asyncio.run(Story.generated(CUSTOMERS["short"], SEED))


@pytest.mark.parametrize("fault", [f for f in FAULTS if f.short], ids=lambda fault: fault.name)
async def test_a_fault_leaves_no_trace(fault: Fault, stand: Stand, story: Story) -> None:
    """Invariants 1, 2, 3, 4 and 7: nothing lost or doubled, no false alerts.

    The fault was also really injected while work was in progress.
    """
    verdict = await play(fault, stand, story, long=False, times=1)
    if verdict.ok is None:
        pytest.skip(verdict.why)
    assert verdict.ok, verdict.line()
