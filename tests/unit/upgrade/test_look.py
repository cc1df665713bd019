"""The comparison after an upgrade finds whatever is lost, doubled or otherwise."""

import copy
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest

from services.scoring.core.features.state import empty
from tests.upgrade.look import Outcome, differences


def _calm() -> Outcome:
    def rows(name: str) -> Counter[tuple[str, ...]]:
        return Counter([(name, "1"), (name, "2")])

    return Outcome(
        keys=rows("key"), events=rows("event"), customers=["a", "b"], states=empty(2),
        assessments=rows("assessment"), tasks=rows("task"), deliveries=rows("delivery"),
        webhooks=rows("message"), letters=rows("letter"), published_letters=2,
    )  # fmt: skip


def _state(outcome: Outcome, field: str) -> None:
    assert outcome.states is not None
    outcome.states[field][1] += 1


COUNTED = ("keys", "events", "assessments", "tasks", "deliveries", "webhooks", "letters")


def test_equal_ones_have_no_difference() -> None:
    assert differences(_calm(), _calm()) == []


@pytest.mark.parametrize("name", COUNTED)
@pytest.mark.parametrize("more", [1, -1])
def test_what_is_lost_or_doubled_is_found(name: str, more: int) -> None:
    rough = _calm()
    row = next(iter(getattr(rough, name)))
    getattr(rough, name)[row] += more
    (first, *_) = differences(_calm(), rough)
    assert first == f"{name}: 1 {'too many' if more > 0 else 'lost'}, as [{row}]"


PLANTED: dict[str, Callable[[Outcome], object]] = {
    "customers: 1 lost": lambda o: o.customers.pop(),
    "states: spent differs for 1 customers, as ['b']": lambda o: _state(o, "spent"),
    "1 messages were delivered twice": lambda o: setattr(o, "twice", 1),
    "1 messages had a wrong signature": lambda o: setattr(o, "unsigned", 1),
    "dead letters published: 3, not 2": lambda o: setattr(o, "published_letters", 3),
}


@pytest.mark.parametrize("what", PLANTED)
def test_other_differences_are_found(what: str) -> None:
    rough = _calm()
    PLANTED[what](rough)
    (found,) = differences(_calm(), rough)
    assert found.startswith(what)


def test_digits_and_kinds_of_interactions_may_differ() -> None:
    rough = _calm()
    _state(rough, "kinds_counted")
    assert rough.states is not None
    rough.states["spent"] += np.float64(1e-12)
    assert differences(_calm(), rough) == []


@pytest.mark.parametrize("name", COUNTED)
def test_nothing_at_all_is_no_agreement(name: str) -> None:
    empty_one = _calm()
    getattr(empty_one, name).clear()
    assert differences(empty_one, copy.deepcopy(empty_one)) == [f"{name}: there are none"]
