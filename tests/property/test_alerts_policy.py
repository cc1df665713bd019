"""One open task per customer and cause, in any order of arrivals (invariant 10)."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from operator import attrgetter

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from services.alerts.core.conditions import passes
from services.alerts.core.policy import (
    Closed,
    CustomerState,
    Joined,
    Policy,
    Raised,
    closed_at_first_purchase,
    decide,
    purchased,
)
from services.alerts.core.signs import about_silence, statistical
from services.alerts.core.task_cause import is_gone
from shared.contracts.risk import BANDS, Classification, RiskAssessed
from tests.unit.alerts.samples import assessed, day, sign

CAUSES = ("silence_beyond_rhythm", "slipping_again", "complaint_open", "frequency_falling")
POLICIES = st.builds(
    Policy,
    cooldown_days=st.sampled_from([0, 3, 28]),
    ramp_days=st.sampled_from([0, 1, 7]),
    open_tasks_max=st.integers(1, 3),
)
HIGH = Classification(tier="high")


@dataclass(frozen=True)
class Bought:
    at: datetime


Arrival = RiskAssessed | Bought


@st.composite
def assessments(draw: st.DrawFn) -> list[RiskAssessed]:
    """Draws a customer's assessments as scoring makes them: revisions and times grow together."""
    made = []
    at = 0.0
    for revision in range(draw(st.integers(1, 12))):
        at += draw(st.sampled_from([0.5, 1.0, 10.0, 30.0]))
        bought = draw(st.none() | st.floats(0, at))
        made.append(
            assessed(
                revision,
                at,
                draw(st.sampled_from(BANDS)),
                onboarding=revision == 0 and draw(st.booleans()),
                signs=[sign(code) for code in draw(st.lists(st.sampled_from(CAUSES), unique=True))],
                last_purchase_at=None if bought is None else day(bought),
                days_silent=draw(st.sampled_from([1.0, 20.0, 40.0])),
                standing=HIGH,
            )
        )
    return made


PURCHASES = st.lists(st.floats(0, 200).map(lambda at: Bought(day(at))), max_size=6)


@dataclass
class Played:
    """All results of a sequence."""

    state: CustomerState
    raised: list[Raised] = field(default_factory=list)
    closed: list[Closed] = field(default_factory=list)
    warned: list[tuple[str, datetime, datetime | None]] = field(default_factory=list)
    """Cause, when it was raised or joined, and the last purchase known from assessments."""
    told: datetime | None = None


def play(arrivals: Sequence[Arrival], policy: Policy) -> Played:
    """Plays the arrivals and checks the laws after each step; returns all results.

    Purchases in a row come as one batch: the newest is noted before the first is handled.
    """
    played = Played(CustomerState("c-1"))
    read: list[datetime] = []
    for _, run in itertools.groupby(arrivals, type):
        batch = list(run)
        bought = [each.at for each in batch if isinstance(each, Bought)]
        if bought:
            read += bought
            noted = filter(None, [played.state.purchased_at, *bought])
            played.state = replace(played.state, purchased_at=max(noted))
        for each in batch:
            if isinstance(each, Bought):
                played.state, steps = purchased(played.state, each.at)
                played.closed += steps
            else:
                _assess(played, each, policy, read)
            _check(played, policy)
    assert len({c.task.id for c in played.closed}) == len(played.closed)
    return played


def _assess(
    played: Played, message: RiskAssessed, policy: Policy, read: Sequence[datetime]
) -> None:
    decision = decide(played.state, message, policy)
    played.state = decision.state
    if decision.why != "stale":
        played.told = max(filter(None, [played.told, message.last_purchase_at]), default=None)
    for step in (closed_at_first_purchase(s, read) for s in decision.steps):
        if isinstance(step, Closed):
            played.closed.append(step)
        if isinstance(step, Raised):
            played.raised.append(step)
        if isinstance(step, Raised | Joined):
            causes = step.causes if isinstance(step, Joined) else step.task.causes
            assert causes
            played.warned += [(c, message.assessed_at, played.told) for c in causes]
    if decision.why not in {"stale", "ramp", "history"}:
        _nothing_is_lost(decision.state, message, policy)


def _nothing_is_lost(state: CustomerState, message: RiskAssessed, policy: Policy) -> None:
    """Every sign that holds and passes the policy has been warned of, or is in cooldown."""
    for each in message.signs:
        counts = not (is_gone(message) and statistical(each.code))
        if not counts or not passes(each, message, policy):
            continue
        known = state.of(each.code)
        rests = known is not None and message.assessed_at - known.at < policy.cooldown(each.code)
        silent = about_silence(each.code) and state.warned_of_silence
        assert rests or silent or (known is not None and not known.armed)


def _check(played: Played, policy: Policy) -> None:
    """Invariant 10: one open task of a customer and cause, by its name and by all its causes."""
    tasks = played.state.open
    causes = [cause for task in tasks for cause in task.causes]
    assert len(causes) == len(set(causes))
    assert len({task.cause for task in tasks}) == len(tasks) <= policy.open_tasks_max
    alive = {r.task.id for r in played.raised} - {c.task.id for c in played.closed}
    assert alive == {task.id for task in tasks}


@settings(max_examples=150)
@given(st.data(), assessments(), PURCHASES, POLICIES)
def test_any_order_and_any_duplicates(
    data: st.DataObject, made: list[RiskAssessed], bought: list[Bought], policy: Policy
) -> None:
    arrivals: list[Arrival] = data.draw(st.permutations([*made, *made, *bought, *bought]))
    played = play(arrivals, policy)
    raised, closed = played.raised, played.closed
    assert len({r.task.id for r in raised}) == len(raised)
    assert [r.episode for r in raised] == list(range(1, len(raised) + 1))
    _rests(played, policy)
    for end in closed:
        assert end.at > end.task.opened_at
        assert end.task.ends_by_purchase or end.reason != "came_back"


def _rests(played: Played, policy: Policy) -> None:
    """Between two warnings of a cause lies its cooldown; for a silence, that or a purchase."""
    last: dict[str, datetime] = {}
    for cause, at, bought in played.warned:
        before = last.get(cause)
        if before is not None and not (about_silence(cause) and bought and bought > before):
            assert at - before >= policy.cooldown(cause)
        last[cause] = at


@settings(max_examples=150)
@given(assessments(), POLICIES)
def test_a_replay_raises_the_same_tasks(made: list[RiskAssessed], policy: Policy) -> None:
    doubled = [m for m in made for _ in range(2)]
    assert play(made, policy) == play([*doubled, *made], policy)


@settings(max_examples=300)
@given(st.data(), assessments(), PURCHASES, st.sampled_from([0, 3, 28]), st.integers(1, 3))
def test_which_topic_is_read_first_does_not_decide_what_is_warned_of(
    data: st.DataObject, made: list[RiskAssessed], bought: list[Bought], cooldown: int, most: int
) -> None:
    """With complete purchases from scoring, any interleaving gives the same warnings.

    They have the same causes and times. It also leaves no task open about a silence that has ended.
    """
    policy = Policy(cooldown_days=cooldown, ramp_days=0, open_tasks_max=most)
    known = [_told_of(m, bought) for m in made]
    expected = play([*known, *bought], policy).warned
    where = data.draw(
        st.lists(st.integers(0, len(known)), min_size=len(bought), max_size=len(bought))
    )
    mixed: list[Arrival] = list(known)
    for index, each in sorted(zip(where, bought, strict=True), key=lambda p: -p[0]):
        mixed.insert(index, each)
    played = play(mixed, policy)
    assert sorted(played.warned, key=str) == sorted(expected, key=str)
    latest = max((b.at for b in bought), default=None)
    for task in played.state.open:
        assert latest is None or latest <= task.opened_at or not task.ends_by_purchase
    assert len(played.closed) + len(played.state.open) == len(played.raised)


@settings(max_examples=150)
@given(st.data(), assessments(), PURCHASES)
def test_a_task_ends_at_the_first_purchase_after_it_however_far_behind_assessments_are(
    data: st.DataObject, made: list[RiskAssessed], bought: list[Bought]
) -> None:
    """Activity comes in its own order, and never behind the assessments that include it."""
    bought = sorted(bought, key=attrgetter("at"))
    mixed: list[Arrival] = [_told_of(m, bought) for m in made]
    latest = len(mixed)
    for each in reversed(bought):
        latest = min(latest, sum(m.assessed_at < each.at for m in made))
        latest = data.draw(st.integers(0, latest))
        mixed.insert(latest, each)
    for end in play(mixed, Policy(cooldown_days=3, ramp_days=0)).closed:
        if end.reason == "came_back":
            assert end.at == min(b.at for b in bought if b.at > end.task.opened_at)


@settings(max_examples=150)
@given(assessments())
def test_a_task_is_open_for_as_long_as_a_sign_of_its_holds(made: list[RiskAssessed]) -> None:
    """Without a purchase and an owner, nothing else ends one."""
    quiet = [_told_of(m, []) for m in made]
    for count in range(1, len(quiet) + 1):
        played = play(quiet[:count], Policy(ramp_days=0))
        holding = {each.code for each in quiet[count - 1].signs} | {"churned"}
        for task in played.state.open:
            assert not holding.isdisjoint(task.causes)
        for end in played.closed:
            assert end.reason == "resolved"


def _told_of(message: RiskAssessed, bought: Sequence[Bought]) -> RiskAssessed:
    """Returns the assessment with the purchases that had happened by then."""
    before = [b.at for b in bought if b.at <= message.assessed_at]
    last = max(before, default=None)
    silent = None if last is None else (message.assessed_at - last) / timedelta(days=1)
    fields = {name: getattr(message, name) for name in message.__struct_fields__}
    return RiskAssessed(**(fields | {"last_purchase_at": last, "days_silent": silent}))
