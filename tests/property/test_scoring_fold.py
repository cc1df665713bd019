"""The state is a commutative monoid: order, batches and parallel folding do not matter."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.scoring.core.features.events import EventColumns
from services.scoring.core.features.fold import fold, merge
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


@given(batches, batches)
def test_merge_is_union(a: EventColumns, b: EventColumns) -> None:
    """History can be folded in parallel and merged."""
    merged = merge(fold(nothing(), a), fold(nothing(), b))
    assert_states_equal(merged, fold(nothing(), together(a, b)))


@given(batches, batches, batches)
def test_merge_is_commutative_and_associative(
    a: EventColumns, b: EventColumns, c: EventColumns
) -> None:
    """In any order of merging partial states."""
    x, y, z = (fold(nothing(), events) for events in (a, b, c))
    assert_states_equal(merge(x, y), merge(y, x))
    assert_states_equal(merge(merge(x, y), z), merge(x, merge(y, z)))


@given(batches)
def test_empty_is_the_identity(events: EventColumns) -> None:
    """Nothing folded, or an empty state merged, changes nothing: to the bit."""
    states = fold(nothing(), events)
    nobody = events.select(np.array([], np.int64))
    for same in (fold(states, nobody), merge(states, nothing()), merge(nothing(), states)):
        assert to_bytes(same) == to_bytes(states)


@given(batches, batches)
def test_inputs_are_not_mutated(a: EventColumns, b: EventColumns) -> None:
    """A failed transaction can be retried from the same states and events."""
    x, y = fold(nothing(), a), fold(nothing(), b)
    before = to_bytes(x), to_bytes(y)
    times, amounts = b.time.copy(), b.amount.copy()
    fold(x, b)
    merge(x, y)
    assert (to_bytes(x), to_bytes(y)) == before
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
    with pytest.raises(ValueError, match="at least 16 bytes, not 3"):
        from_bytes([good, good[:3]])


def test_little_is_stored_of_who_did_little() -> None:
    """A first purchase takes a fraction of the whole state, and an empty state only a mask."""
    once = fold(empty(1), purchases(1))
    assert len(to_bytes(empty(1))[0]) == 16
    assert len(to_bytes(once)[0]) < STATE.itemsize / 4
