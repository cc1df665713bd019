"""Merging states is the monoid's own law, and a repetition can be taken out of it."""

from dataclasses import replace

import numpy as np
from hypothesis import given
from numpy.typing import NDArray

from services.scoring.core.features.events import EventColumns
from services.scoring.core.features.fold import fold
from services.scoring.core.features.merge import merge, without
from services.scoring.core.features.state import STATE, to_bytes
from tests.unit.scoring.core.histories import together
from tests.unit.scoring.core.strategies import assert_states_equal, batches, nothing


def _named(events: EventColumns, first: int = 0) -> EventColumns:
    """Returns the events with a key of their own each, as different (source, id) have."""
    return replace(events, key=np.arange(first, first + len(events), dtype=np.uint64))


def _assert_close(a: NDArray[np.void], b: NDArray[np.void]) -> None:
    """Compares to 1e-9 and a millionth: the rounding of amounts of 10^6 that were taken out."""
    for field in STATE.names or ():
        if STATE[field].base == np.float64:
            np.testing.assert_allclose(a[field], b[field], rtol=1e-9, atol=1e-6, err_msg=field)
        else:
            np.testing.assert_array_equal(a[field], b[field], err_msg=field)


@given(batches, batches)
def test_merged_states_are_those_of_all_events(a: EventColumns, b: EventColumns) -> None:
    """Two ids of one customer: the same state as if all events had come with one."""
    a, b = _named(a), _named(b, 100)
    merged = merge(fold(nothing(), a), fold(nothing(), b))
    assert_states_equal(merged, fold(nothing(), together(a, b)))


@given(batches, batches, batches)
def test_merge_is_commutative_and_associative(
    a: EventColumns, b: EventColumns, c: EventColumns
) -> None:
    """Neither the order nor the grouping of merges matters."""
    named = (_named(events, 100 * n) for n, events in enumerate((a, b, c)))
    x, y, z = (fold(nothing(), events) for events in named)
    assert_states_equal(merge(x, y), merge(y, x))
    assert_states_equal(merge(merge(x, y), z), merge(x, merge(y, z)))


@given(batches)
def test_an_unknown_id_changes_nothing(a: EventColumns) -> None:
    """Merging with an id without events leaves the state as it is."""
    x = fold(nothing(), _named(a))
    assert_states_equal(merge(x, nothing()), x)
    assert_states_equal(merge(nothing(), x), x)


@given(batches, batches, batches)
def test_what_both_counted_is_counted_once(
    own: EventColumns, others: EventColumns, shared: EventColumns
) -> None:
    """An order that was counted under both ids counts once."""
    own, others, shared = _named(own), _named(others, 100), _named(shared, 200)
    sides = (fold(nothing(), together(each, shared)) for each in (own, others))
    once = without(merge(*sides), fold(nothing(), shared))
    _assert_close(once, fold(nothing(), together(together(own, others), shared)))


@given(batches, batches)
def test_inputs_are_not_changed(a: EventColumns, b: EventColumns) -> None:
    """A failed transaction may merge the same states again."""
    x, y = fold(nothing(), a), fold(nothing(), b)
    before = to_bytes(x), to_bytes(y)
    without(merge(x, y), y)
    assert (to_bytes(x), to_bytes(y)) == before
