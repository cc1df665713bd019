"""A walk's record of tasks: every published cause, and how each task ended."""

from datetime import datetime
from typing import Any

from msgspec.structs import replace

from deploy.backtest.tasks import SimulatedTasks
from services.alerts.core.policy import Policy
from shared.contracts.risk import ENCODER
from tests.unit.alerts.samples import assessed, day, sign

POLICY = Policy(cooldown_days=0)
COMPLAINT = sign("complaint_open", 1.0, days_since_complaint=2.0)
FREQUENCY = sign("frequency_falling", 0.999, window_days=60.0)
SILENT = sign("silence_beyond_rhythm", 0.8, days_silent=20.0)


def reported(tasks: SimulatedTasks, *numbered: tuple[int, float, dict[str, Any]]) -> None:
    """Return assessments by (revision, day, differences)."""
    for revision, at, changes in numbered:
        tasks.assessed(ENCODER.encode(assessed(revision, at, **changes)))


def shown(tasks: SimulatedTasks) -> list[tuple[datetime, str, str]]:
    """Return when, about what and how customers were warned."""
    return [(one.at, one.cause, one.kind) for one in tasks.warned]


def test_a_cause_joins_the_open_task() -> None:
    """Each cause is reported once, with the numbers of its own sentence."""
    tasks = SimulatedTasks(POLICY)
    reported(
        tasks,
        (1, 0, {"signs": [COMPLAINT]}),
        (2, 1, {"signs": [COMPLAINT, FREQUENCY]}),
        (3, 2, {"signs": [COMPLAINT, FREQUENCY]}),
    )
    assert shown(tasks) == [
        (day(0), "complaint_open", "raised"),
        (day(1), "frequency_falling", "joined"),
    ]
    assert tasks.warned[1].facts == {"window_days": 60.0}
    assert tasks.warned[1].probability == 0.6
    assert tasks.warned[1].lapse_days == 30.0
    assert tasks.open.keys() == {"c-1"}


def test_several_causes_at_once_are_several_warnings() -> None:
    """They belong to one task."""
    tasks = SimulatedTasks(POLICY)
    reported(tasks, (1, 0, {"signs": [COMPLAINT, FREQUENCY]}))
    assert shown(tasks) == [
        (day(0), "complaint_open", "raised"),
        (day(0), "frequency_falling", "raised"),
    ]


def test_a_purchase_ends_a_task_about_silence() -> None:
    """The customer is no longer at risk; an unknown customer's purchase has no effect."""
    tasks = SimulatedTasks(POLICY)
    reported(tasks, (1, 0, {"signs": [SILENT]}))
    tasks.bought("c-1", day(3).timestamp())
    tasks.bought("somebody else", day(3).timestamp())
    (ended,) = tasks.ended
    assert (ended.at, ended.cause, ended.reason) == (day(3), "silence_beyond_rhythm", "came_back")
    assert not tasks.open


def test_a_task_ends_by_its_age() -> None:
    """A task ends at the age that the policy sets, whenever this is noticed.

    Then another one may follow.
    """
    tasks = SimulatedTasks(replace(POLICY, expire_days=10))
    reported(
        tasks,
        (1, 0, {"signs": [COMPLAINT]}),
        (2, 9, {"signs": []}),
        (3, 12, {"signs": [COMPLAINT]}),
    )
    assert [one.reason for one in tasks.ended] == ["resolved"]
    reported(tasks, (4, 30, {"signs": [COMPLAINT]}))
    assert tasks.ended[-1].reason == "expired"
    assert tasks.ended[-1].at == day(22)


def test_held_out_customers_have_no_task() -> None:
    """The customers who are held out are counted apart."""
    policy = replace(POLICY, holdout=replace(POLICY.holdout, share=0.5))
    tasks = SimulatedTasks(policy)
    for number in range(40):
        message = assessed(1, 0, signs=[SILENT], customer_id=f"c-{number}")
        tasks.assessed(ENCODER.encode(message))
    assert {one.kind for one in tasks.warned} == {"raised", "held_out"}
