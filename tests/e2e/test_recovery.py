"""A crash during a replay changes nothing: invariants 1 and 2, on the real services."""

from pathlib import Path

import numpy as np
import pytest

from deploy.demo.backlog import INGEST, SCORING
from deploy.demo.dataset import PanelHistory, load
from tests.e2e.services_on_history import World

HOUSEHOLDS = 100
DAYS = 45
KILLED_AFTER = (0.3, 0.7)
"""Shares of the live events sent when scoring is killed."""

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def history() -> PanelHistory:
    return load(HOUSEHOLDS)


async def test_final_states_and_tasks_equal_those_of_an_uninterrupted_run(
    history: PanelHistory, folder: Path, environ: dict[str, str]
) -> None:
    """Invariants 1 and 2: kill -9 of scoring during a replay has no lasting effect."""
    async with World.open(folder, environ) as calm:
        if calm.stack.broker == "embedded":
            pytest.skip("the embedded broker keeps a killed consumer's partitions: install Java")
        await calm.load(history)
        total = await calm.replay(history, DAYS)
        await calm.settled()
        expected_customers, expected_states = await calm.states()
        expected_tasks = await calm.tasks()
    async with World.open(folder, environ) as rough:
        due = [share * total for share in KILLED_AFTER]
        unread_at_kill: list[int] = []

        async def disturb(sent: int) -> None:
            if due and sent >= due[0]:
                due.pop(0)
                rough.services.kill("scoring")
                unread_at_kill.append(await rough.backlog.behind(INGEST, SCORING))
                rough.services.start("scoring")

        await rough.load(history)
        await rough.replay(history, DAYS, disturb)
        await rough.settled()
        customers, states = await rough.states()
        tasks = await rough.tasks()
        received = await rough.received()
    assert len(unread_at_kill) == len(KILLED_AFTER)
    assert all(unread_at_kill), "scoring was idle when it was killed: nothing was proven"
    assert customers == expected_customers
    for name in states.dtype.names or ():
        np.testing.assert_allclose(
            states[name], expected_states[name], rtol=1e-9, atol=1e-9, err_msg=name
        )
    assert expected_tasks, "no task at all: nothing was proven"
    assert tasks == expected_tasks
    assert len({each.webhook_id for each in received}) == len(received)
