"""The state is a commutative monoid: order, batches and parallel folding do not matter."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.scoring.core.features.events import EventColumns
from services.scoring.core.features.fold import fold
from services.scoring.core.features.state import (
    STATE,
    empty,
    from_bytes,
    to_bytes,
)
from tests.unit.scoring.core.histories import purchases, together
from tests.unit.scoring.core.strategies import assert_states_equal, batches, nothing


@given(batches, st.integers(0, 2**32 - 1))
def test_order_does_not_matter(events: EventColumns, seed: int) -> None:
    """A shuffled history folds to the same state: a late event is no special case."""
    order = np.random.default_rng(seed).permutation(len(events))
    assert_states_equal(fold(nothing(), events), fold(nothing(), events.select(order)))


@given(batches, batches)
def test_batches_do_not_matter(a: EventColumns, b: EventColumns) -> None:
    """Two batches in either order, or one: the same state."""
    at_once = fold(nothing(), together(a, b))
    assert_states_equal(fold(fold(nothing(), a), b), at_once)
    assert_states_equal(fold(fold(nothing(), b), a), at_once)


@given(batches)
def test_one_event_at_a_time(events: EventColumns) -> None:
    """The finest split: a vectorised fold must agree with it."""
    states = nothing()
    for at in range(len(events)):
        states = fold(states, events.select(np.array([at])))
    assert_states_equal(states, fold(nothing(), events))


@given(batches)
def test_no_events_change_nothing(events: EventColumns) -> None:
    """Nothing folded changes nothing: to the bit."""
    states = fold(nothing(), events)
    nobody = events.select(np.array([], np.int64))
    assert to_bytes(fold(states, nobody)) == to_bytes(states)


@given(batches, batches)
def test_inputs_are_not_mutated(a: EventColumns, b: EventColumns) -> None:
    """A failed transaction can be retried from the same states and events."""
    states = fold(nothing(), a)
    before = to_bytes(states)
    times, amounts = b.time.copy(), b.amount.copy()
    fold(states, b)
    assert to_bytes(states) == before
    np.testing.assert_array_equal(b.time, times)
    np.testing.assert_array_equal(b.amount, amounts)


@given(batches)
def test_customers_do_not_touch_each_other(events: EventColumns) -> None:
    """Each customer's state is the result of their own events alone."""
    states = fold(nothing(), events)
    for customer in range(len(states)):
        own = events.select(events.row == customer)
        assert_states_equal(fold(nothing(), own)[[customer]], states[[customer]])


@given(batches)
def test_bytes_come_back(events: EventColumns) -> None:
    """Stored and read again, to the bit, and the copy can be folded on."""
    states = fold(nothing(), events)
    again = from_bytes(to_bytes(states))
    assert again.tobytes() == states.tobytes()
    assert_states_equal(fold(again, events), fold(states, events))


def test_foreign_bytes_are_refused() -> None:
    """A state of another layout names both sizes instead of being misread."""
    good = to_bytes(fold(empty(1), purchases(1, 5)))[0]
    with pytest.raises(ValueError, match=rf"{len(good)} bytes.*not {len(good) - 8}"):
        from_bytes([good, good[:-8]])
    with pytest.raises(ValueError, match="at least 24 bytes, not 3"):
        from_bytes([good, good[:3]])


def test_little_is_stored_of_who_did_little() -> None:
    """A first purchase takes a fraction of the whole state, and an empty state only a mask."""
    once = fold(empty(1), purchases(1))
    assert len(to_bytes(empty(1))[0]) == 24
    assert len(to_bytes(once)[0]) < STATE.itemsize / 4
