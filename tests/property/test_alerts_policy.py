"""One open task per customer and cause, whatever arrives in whatever order (invariant 10)."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from services.alerts.core.policy import (
    Closed,
    CustomerState,
    Policy,
    Raised,
    Step,
    decide,
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
    """Everything that follows, and the law checked after each step."""
    state = CustomerState("c-1")
    raised: list[Raised] = []
    closed: list[Closed] = []
    for each in arrivals:
        if isinstance(each, Bought):
            state, ended = purchased(state, each.at)
            steps: tuple[Step, ...] = ended
        else:
            decision = decide(state, each, policy)
            state, steps = decision.state, decision.steps
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


def _told_of(message: RiskAssessed, bought: Sequence[Bought]) -> RiskAssessed:
    """The assessment with the purchases that had happened by then."""
    before = [b.at for b in bought if b.at <= message.assessed_at]
    last = max(before, default=None)
    silent = None if last is None else (message.assessed_at - last) / timedelta(days=1)
    fields = {name: getattr(message, name) for name in message.__struct_fields__}
    return RiskAssessed(**(fields | {"last_purchase_at": last, "days_silent": silent}))
