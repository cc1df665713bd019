"""One open task per customer and cause, whatever arrives in whatever order (invariant 10)."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import attrgetter

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from services.alerts.core.policy import (
    Closed,
    CustomerState,
    Policy,
    Raised,
    Step,
    decide,
    first_seen,
    purchased,
)
from shared.contracts.risk import BANDS, Reason, RiskAssessed
from tests.unit.alerts.samples import assessed, day

CAUSES = ("silence_beyond_rhythm", "complaint_open", "frequency_falling")
POLICIES = st.builds(
    Policy,
    band_raise=st.sampled_from(["watch", "high", "critical"]),
    cooldown_days=st.sampled_from([0, 3, 28]),
    ramp_days=st.sampled_from([0, 1, 7]),
    open_tasks_max=st.integers(1, 3),
)


@dataclass(frozen=True)
class Bought:
    at: datetime


Arrival = RiskAssessed | Bought


@st.composite
def assessments(draw: st.DrawFn) -> list[RiskAssessed]:
    """A customer's assessments as scoring makes them: revisions and times grow together."""
    made = []
    at = 0.0
    for revision in range(draw(st.integers(1, 12))):
        at += draw(st.sampled_from([0.5, 1.0, 10.0, 30.0]))
        cause = draw(st.sampled_from(CAUSES))
        bought = draw(st.none() | st.floats(0, at))
        made.append(
            assessed(
                revision,
                at,
                draw(st.sampled_from(BANDS)),
                onboarding=revision == 0 and draw(st.booleans()),
                reasons=[Reason(code=cause, impact=1.0, facts={})],
                last_purchase_at=None if bought is None else day(bought),
                days_silent=draw(st.sampled_from([1.0, 20.0, 40.0])),
            )
        )
    return made


PURCHASES = st.lists(st.floats(0, 200).map(lambda at: Bought(day(at))), max_size=6)


def play(
    arrivals: Sequence[Arrival], policy: Policy
) -> tuple[CustomerState, list[Raised], list[Closed]]:
    """Everything that follows, and the law checked after each step.

    Purchases in a row come as one batch: the newest is noted before the first is looked at.
    """
    state = CustomerState("c-1")
    raised: list[Raised] = []
    closed: list[Closed] = []
    read: list[datetime] = []
    for _, run in itertools.groupby(arrivals, type):
        batch = list(run)
        bought = [each.at for each in batch if isinstance(each, Bought)]
        if bought:
            read += bought
            noted = filter(None, [state.purchased_at, *bought])
            state = replace(state, purchased_at=max(noted))
        for each in batch:
            steps: Sequence[Step]
            if isinstance(each, Bought):
                state, steps = purchased(state, each.at)
            else:
                decision = decide(state, each, policy)
                state, steps = decision.state, decision.steps
                steps = [first_seen(s, read) for s in steps]
            raised += [s for s in steps if isinstance(s, Raised)]
            closed += [s for s in steps if isinstance(s, Closed)]
            causes = [task.cause for task in state.open]
            assert len(causes) == len(set(causes))
            assert len(causes) <= policy.open_tasks_max
            alive = {r.task.id for r in raised} - {c.task.id for c in closed}
            assert alive == {task.id for task in state.open}
    assert len({c.task.id for c in closed}) == len(closed)
    return state, raised, closed


@settings(max_examples=150)
@given(st.data(), assessments(), PURCHASES, POLICIES)
def test_any_order_and_any_duplicates(
    data: st.DataObject, made: list[RiskAssessed], bought: list[Bought], policy: Policy
) -> None:
    arrivals: list[Arrival] = data.draw(st.permutations([*made, *made, *bought, *bought]))
    _, raised, closed = play(arrivals, policy)
    assert len({r.task.id for r in raised}) == len(raised)
    assert [r.episode for r in raised] == list(range(1, len(raised) + 1))
    times = [r.task.opened_at for r in raised]
    cooldown = timedelta(days=policy.cooldown_days)
    assert all(b - a >= cooldown for a, b in itertools.pairwise(times))
    assert all(c.at > c.task.opened_at for c in closed)


@settings(max_examples=150)
@given(assessments(), POLICIES)
def test_a_replay_raises_the_same_tasks(made: list[RiskAssessed], policy: Policy) -> None:
    doubled = [m for m in made for _ in range(2)]
    assert play(made, policy) == play([*doubled, *made], policy)


@settings(max_examples=150)
@given(st.data(), assessments(), PURCHASES)
def test_which_topic_is_read_first_does_not_decide_which_tasks_exist(
    data: st.DataObject, made: list[RiskAssessed], bought: list[Bought]
) -> None:
    """With scoring's own word on purchases complete, any interleaving raises the same tasks."""
    policy = Policy(cooldown_days=28, ramp_days=0)
    known = [_told_of(m, bought) for m in made]
    expected = {(r.task.id, r.task.opened_at) for r in play([*known, *bought], policy)[1]}
    where = data.draw(
        st.lists(st.integers(0, len(known)), min_size=len(bought), max_size=len(bought))
    )
    mixed: list[Arrival] = list(known)
    for index, each in sorted(zip(where, bought, strict=True), key=lambda p: -p[0]):
        mixed.insert(index, each)
    state, raised, closed = play(mixed, policy)
    assert {(r.task.id, r.task.opened_at) for r in raised} == expected
    latest = max((b.at for b in bought), default=None)
    for task in state.open:
        assert latest is None or latest <= task.opened_at
    assert len(closed) + len(state.open) == len(raised)


@settings(max_examples=150)
@given(st.data(), assessments(), PURCHASES)
def test_a_task_ends_at_the_first_purchase_after_it_however_far_behind_assessments_are(
    data: st.DataObject, made: list[RiskAssessed], bought: list[Bought]
) -> None:
    """Activity in its own order, and never behind the assessments that tell of it."""
    bought = sorted(bought, key=attrgetter("at"))
    mixed: list[Arrival] = [_told_of(m, bought) for m in made]
    latest = len(mixed)
    for each in reversed(bought):
        latest = min(latest, sum(m.assessed_at < each.at for m in made))
        latest = data.draw(st.integers(0, latest))
        mixed.insert(latest, each)
    _, _, closed = play(mixed, Policy(cooldown_days=3, ramp_days=0))
    for end in closed:
        assert end.at == min(b.at for b in bought if b.at > end.task.opened_at)


def _told_of(message: RiskAssessed, bought: Sequence[Bought]) -> RiskAssessed:
    """The assessment with the purchases that had happened by then."""
    before = [b.at for b in bought if b.at <= message.assessed_at]
    last = max(before, default=None)
    silent = None if last is None else (message.assessed_at - last) / timedelta(days=1)
    fields = {name: getattr(message, name) for name in message.__struct_fields__}
    return RiskAssessed(**(fields | {"last_purchase_at": last, "days_silent": silent}))
