"""The lifecycle of a task under any sequence of actions and timers."""

from datetime import datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from services.alerts.core.business_hours import WorkingCalendar
from services.alerts.core.owner import OwnerRecord
from services.alerts.core.task import Task
from services.alerts.core.task_lifecycle import (
    ESCALATIONS_MAX,
    Acknowledge,
    Action,
    Closed409,
    Comment,
    Dismiss,
    Escalate,
    Reassign,
    Snooze,
    Start,
    act,
    is_unanswered,
    unanswered,
)
from shared.kernel.errors import Invalid
from tests.unit.alerts.samples import day, raised_task

OWNERS = {
    "o-1": OwnerRecord(id="o-1", manager_id="boss", fallback_id="o-2"),
    "o-2": OwnerRecord(id="o-2", manager_id="boss"),
    "o-3": OwnerRecord(id="o-3"),
}
ACTIONS: st.SearchStrategy[Action] = st.one_of(
    st.just(Acknowledge()),
    st.just(Start()),
    st.integers(1, 9).map(lambda days: Snooze(day(days * 10))),
    st.just(Snooze(None)),
    st.just(Comment("x")),
    st.sampled_from(sorted(OWNERS)).map(lambda owner: Reassign(owner, None, None)),
    st.just(Escalate(None, None)),
    st.just(Escalate("boss", "help")),
    st.just(Dismiss("no")),
)
STEPS = st.lists(st.tuples(st.integers(0, 5), st.none() | ACTIONS), max_size=25)
"""Days since the step before, and an action; None: the timer runs."""


def step(task: Task, action: Action | None, now: datetime) -> tuple[Task, bool, bool]:
    """Returns the task after a step, whether history is written, and whether it is published."""
    if action is None:
        if not is_unanswered(task, now):
            return task, False, False
        done = unanswered(task, OWNERS, now, WorkingCalendar())
    else:
        record = OWNERS.get(task.owner_id or "")
        try:
            done = act(task, action, now, record.manager_id if record else None)
        except (Invalid, Closed409):
            return task, False, False
    return done.task, done.kind is not None, done.sent


@settings(max_examples=200)
@given(STEPS)
def test_any_sequence_of_steps(steps: list[tuple[int, Action | None]]) -> None:
    task = raised_task()
    task = Task(**{name: getattr(task, name) for name in task.__struct_fields__}
                | {"respond_by": day(1)})  # fmt: skip
    now = day(0)
    for days, action in steps:
        now += timedelta(days=days)
        after, remembered, reported = step(task, action, now)
        assert reported == (after.version > task.version)  # publishing increases the version
        assert reported <= remembered
        assert remembered or after == task
        if task.status == "closed":
            assert after == task  # an end is final: only comments can be added
        if isinstance(action, Dismiss):
            assert after.status == "closed"
        assert after.escalations <= ESCALATIONS_MAX
        assert (after.closed_at is not None) == (after.status == "closed")
        assert after.closed_at is None or after.closed_at >= after.opened_at
        again, remembered_again, _ = step(after, action, now)
        if action is not None and not isinstance(action, Comment):
            assert again == after  # repetition changes nothing
            assert not remembered_again
        task = after


@settings(max_examples=50)
@given(st.integers(1, 60))
def test_an_unanswered_task_is_passed_on_at_most_twice(looks: int) -> None:
    task = raised_task()
    task = Task(**{name: getattr(task, name) for name in task.__struct_fields__}
                | {"respond_by": day(1)})  # fmt: skip
    reported = 0
    for at in range(looks):
        task, _, tells = step(task, None, day(at))
        reported += tells
    assert reported <= ESCALATIONS_MAX
    if looks > 10:
        assert (task.escalated_to, task.owner_id) == ("boss", "o-2")
