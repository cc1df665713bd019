"""Slots are bounded and distinct, and the least recently used ones are freed."""

import numpy as np
import pytest

from services.scoring.store.lru_slots import LruSlots


@pytest.mark.parametrize("names_max", [1, 3, 8, 40])
def test_the_latest_stay_and_keep_their_slots(names_max: int) -> None:
    """Compared with a list of names by their last use.

    No name leaves before an older one, no slot has two names, and a name that stays keeps its slot,
    whatever is used, dropped and cleared.
    """
    draw = np.random.default_rng(3)
    slots, order = LruSlots(names_max), list[str]()
    for turn in range(300):
        before = dict(zip(order, slots.of(order).tolist(), strict=True))
        names = [f"c{n}" for n in draw.permutation(60)[: draw.integers(1, 13)]]
        at, new = slots.touch(names, slots.of(names))
        assert {names[n] for n in new} == {n for n in names[-names_max:] if n not in before}
        assert at.tolist() == slots.of(names).tolist()
        assert (at[-names_max:] >= 0).all()
        assert (at[:-names_max] < 0).all()
        order = [name for name in order if name not in names] + names
        found = slots.of(order)
        gone = int((found < 0).sum())
        assert (found[:gone] < 0).all(), "somebody left before an older one"
        order, kept = order[gone:], found[gone:].tolist()
        assert len(slots) == len(order) <= names_max
        assert len(set(kept)) == len(kept)
        assert max(kept) < slots.room <= max(names_max, 1)
        assert all(before.get(n, s) == s for n, s in zip(order, kept, strict=True))
        if turn % 50 == 49:
            slots.clear()
            order = []
        elif turn % 7 == 0:
            slots.drop(order[:2])
            order = order[2:]
            assert len(slots) == len(order)


def test_an_eighth_leaves_at_once() -> None:
    """So the oldest are searched for only once in many batches."""
    slots = LruSlots(16)
    slots.touch([f"c{n}" for n in range(16)], np.full(16, -1))
    slots.touch(["new"], np.array([-1]))
    assert slots.of(["c0", "c1", "c2", "new"]).tolist()[:2] == [-1, -1]
    assert len(slots) == 15
