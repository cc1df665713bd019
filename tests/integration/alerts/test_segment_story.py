"""A customer's way through a segment by the real cores of both services: a task and its end."""

from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from services.alerts.core.policy_document import read
from services.scoring.core.features.columns import objects
from services.scoring.core.features.compute import features
from services.scoring.core.features.events import DAY_S, EventColumns
from services.scoring.core.features.fold import fold
from services.scoring.core.features.state import empty
from services.scoring.core.segments.rules import SegmentRules, rule
from services.scoring.core.value.classify import (
    Before,
    Risk,
    Valuation,
    assess,
)
from services.scoring.core.value.compare import (
    ChangeSubject,
    ClassificationComparison,
    is_published,
)
from shared.contracts.changes import CustomerChanged
from tests.integration.alerts.harness import AlertsHarness, rows
from tests.unit.alerts.samples import DAY_0, day
from tests.unit.scoring.core.histories import columns

pytestmark = pytest.mark.stack

BY = Valuation(
    rules=SegmentRules(1, (rule("quiet", 1, 1, "recency_days > 30.0", action="greet"),)),
    policy_version=1,
)
POLICY = read({"name": "test", "playbooks": [{"id": "greet", "channels": ["phone"]}]})
TASKS = "SELECT cause, status, close_reason FROM alerts.task ORDER BY opened_at"


@dataclass(slots=True)
class Scored:
    """One customer as scoring stores it; each assessment returns what has changed."""

    bought: list[float]
    before: Before = field(default_factory=lambda: Before.nothing(1))
    sequence: int = 0

    def look(self, at: float) -> list[CustomerChanged]:
        """Return the changes that the assessment on day `at` publishes."""
        now = np.array([day(at).timestamp()])
        past = [one for one in self.bought if one <= at]
        x = features(fold(empty(1), purchases(past)), now)
        risk = Risk(np.zeros(1, np.int8), np.full(1, 0.1), np.zeros(1))
        shown = assess(x, now, risk, np.zeros((1, 16), np.uint32), [None], self.before, BY)
        found = ClassificationComparison.of(shown, self.before, BY)
        changes = found.changes(ChangeSubject(0, "c-1", self.sequence, day(at)), silent=False)
        self.sequence += len(changes)
        one = np.ones(1, np.int64)
        self.before = replace(
            self.before, at=now, grade=shown.grade, tier=shown.tier, behaviour=shown.behaviour,
            lifecycle=shown.lifecycle, lifecycle_since=shown.lifecycle_since,
            segments=objects(found.segments), rules_revision=one, policy_version=one,
        )  # fmt: skip
        return [change for change in changes if is_published(change)]


def purchases(days: list[float]) -> EventColumns:
    return columns(time=DAY_0.timestamp() + np.array(days) * DAY_S, amount=np.full(len(days), 9.0))


async def test_a_quiet_customer_has_a_task_until_the_quiet_is_over(engine: AsyncEngine) -> None:
    """The task is raised on entry, ends on exit, and is raised anew at the next entry."""
    customer = Scored([-20.0, -10.0, 0.0, 45.0])
    async with AlertsHarness(engine, endpoints={"crm": "http://127.0.0.1:9/hook"}) as bench:
        bench.policy = POLICY
        await bench.read_changes(*customer.look(1))
        assert await rows(engine, TASKS) == []
        entry = customer.look(31)
        await bench.read_changes(*entry)
        assert await rows(engine, TASKS) == [("segment:quiet", "open", None)]
        await bench.read_changes(*customer.look(40))
        assert await rows(engine, TASKS) == [("segment:quiet", "open", None)]
        exit_ = customer.look(46)
        await bench.read_changes(*exit_)
        assert await rows(engine, TASKS) == [("segment:quiet", "closed", "left_segment")]
        await bench.read_changes(*customer.look(80))
        await bench.read_changes(*entry, *exit_)
        assert [row[1:] for row in await rows(engine, TASKS)] == [
            ("closed", "left_segment"),
            ("open", None),
        ]
        kinds = await rows(engine, "SELECT kind FROM alerts.delivery ORDER BY created_at, kind")
        assert sorted(kind for (kind,) in kinds) == [
            "retention_task.closed", "retention_task.opened", "retention_task.opened",
        ]  # fmt: skip
