"""Hypothesis strategies for the kernel's laws, and the meaning of "equal states"."""

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from services.scoring.core.features.events import DAY_S, Channel, EventColumns, Kind
from services.scoring.core.features.state import INTERACTION_CLASSES, RING_DAYS, STATE, empty
from tests.unit.scoring.core.histories import EPOCH_S, columns

CUSTOMERS = 3

days = st.one_of(
    st.integers(0, 40),
    st.sampled_from([63, 64, 65, RING_DAYS - 1, RING_DAYS, RING_DAYS + 1, RING_DAYS + 63]),
    st.integers(0, 3 * RING_DAYS),
)
"""Days clustered at the start, at word borders, around the ring's end, and anywhere in 21 years."""

_event = st.tuples(
    st.integers(0, CUSTOMERS - 1),
    st.sampled_from([1, 1, 1, 1, *(int(kind) for kind in Kind)]),
    days,
    st.sampled_from([0.0, 0.25, 40_000.000001, 86_399.999999]),
    st.one_of(st.just(np.nan), st.integers(0, 10**8).map(lambda cents: cents / 100)),
    st.one_of(st.just(np.nan), st.floats(0, 10)),
    st.integers(0, 3),
    st.integers(0, 20),
    st.one_of(st.just(np.nan), st.integers(0, 10**8).map(lambda cents: cents / 100)),
    st.integers(0, INTERACTION_CLASSES),
    st.integers(0, 2),
    st.one_of(st.just(np.nan), st.integers(0, 9_000).map(lambda day: EPOCH_S + day * DAY_S)),
)


_NAMES = ("row", "kind", "day", "second", "amount", "score", "key", "category", "cost", "channel",
          "source", "until")  # fmt: skip


def _columns(events: list[tuple[float, ...]]) -> EventColumns:
    values = zip(*events, strict=True) if events else [()] * len(_NAMES)
    given = dict(zip(_NAMES, values, strict=True))
    kind, channel = np.array(given["kind"], int), np.array(given.pop("channel"), int)
    channel = np.where(kind == Kind.INTERACTION, channel, channel % len(Channel))
    day, second = np.array(given.pop("day"), float), np.array(given.pop("second"), float)
    return columns(time=EPOCH_S + day * DAY_S + second, channel=channel, **given)


batches = st.lists(_event, max_size=30).map(_columns)
"""Events of `CUSTOMERS` customers; equal times and keys are frequent on purpose."""


def assert_states_equal(a: NDArray[np.void], b: NDArray[np.void]) -> None:
    """Compare sums to 1e-9 and everything else exactly.

    Sums without negative terms compare relative to themselves, those with terms of either sign
    absolutely.
    """
    sums = (
        "decayed",
        "points",
        "points_decayed",
        "kinds_decayed",
        "spent",
        "refunded",
        "cost",
        "costed",
        "log_amount_squared",
    )
    for field in STATE.names or ():
        if field == "log_amount":
            np.testing.assert_allclose(a[field], b[field], rtol=0, atol=1e-9, err_msg=field)
        elif field in sums:
            np.testing.assert_allclose(a[field], b[field], rtol=1e-9, atol=1e-290, err_msg=field)
        else:
            np.testing.assert_array_equal(a[field], b[field], err_msg=field)


def nothing() -> NDArray[np.void]:
    """Return empty states of all customers."""
    return empty(CUSTOMERS)
