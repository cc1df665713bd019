"""A segment's rule that fails or ends processes in its trial is left out; the others run."""

from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from services.scoring.core.risk.lapse import LapseClock
from services.scoring.core.segments.rules import SegmentRule, rule
from services.scoring.handlers import value_policy_cache
from services.scoring.handlers.value_policy_cache import ValuePolicyCache
from services.scoring.store.value_settings import InForce, SegmentRow
from shared.runtime.isolation import (
    ALONE_FROM,
    ALONE_MAX,
    READ_S,
    ItemIsolation,
)
from tests.fakes.clock import SetClock
from tests.fakes.item_failures import FailuresInMemory


class Death(BaseException):
    """Stands for the end of the process in the middle of its work."""


class Stored:
    """A store with three segments in force."""

    version = 1

    async def in_force(self, known: tuple[int, int, int] | None) -> InForce | None:
        if known == (0, 0, self.version):
            return None
        rows = [
            SegmentRow(name, self.version, 1, "band == 'high'", None, act_on_existing=False)
            for name in ("a", "bad", "c")
        ]
        return InForce((0, 0, self.version), None, None, rows)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Suppress the output of the planted faults."""
    with structlog.testing.capture_logs():
        yield


@pytest.mark.parametrize(("fault", "deaths"), [(Death, ALONE_FROM + ALONE_MAX), (OSError, 0)])
async def test_a_failing_segment_is_left_out_and_its_new_version_is_tried(
    monkeypatch: pytest.MonkeyPatch, fault: type[BaseException], deaths: int
) -> None:
    rows, died, stored = FailuresInMemory(), 0, Stored()
    original = rule

    def planted(segment: str, version: int, *rest: Any, **named: Any) -> SegmentRule:
        if (segment, version) == ("bad", 1):
            rows.dead = fault is Death
            raise fault
        return original(segment, version, *rest, **named)

    monkeypatch.setattr(value_policy_cache, "rule", planted)
    while True:
        rows = FailuresInMemory(dict(rows.begun), dict(rows.held))
        valuing = ValuePolicyCache(
            stored, 1.0, LapseClock(), ItemIsolation(rows, SetClock(), lambda _: None)
        )
        try:
            await valuing.refresh()
        except Death:
            died += 1
            assert died <= deaths
        else:
            break
    assert died == deaths
    for _ in range(ALONE_MAX):
        await valuing.refresh()
    assert [s.aside_at is not None for s in rows.held.values()] == [True]
    assert [one.id for one in valuing.current().rules.items] == ["a", "c"]
    assert valuing.unusable == {"bad": value_policy_cache.SET_ASIDE}
    stored.version = 2
    await valuing.refresh()
    assert [one.id for one in valuing.current().rules.items] == ["a", "bad", "c"]
    assert valuing.unusable == {}


async def test_one_that_is_released_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, clock = FailuresInMemory(), SetClock()
    valuing = ValuePolicyCache(
        Stored(), 1.0, LapseClock(), ItemIsolation(rows, clock, lambda _: None)
    )

    def broken(*_: Any, **__: Any) -> SegmentRule:
        raise OSError

    with monkeypatch.context() as planting:
        planting.setattr(value_policy_cache, "rule", broken)
        for _ in range(ALONE_MAX):
            await valuing.refresh()
    assert len(valuing.unusable) == 3
    await valuing.refresh()
    assert len(valuing.unusable) == 3, "set aside until somebody releases them"
    rows.held.clear()
    clock.seconds += READ_S
    await valuing.refresh()
    assert (len(valuing.current().rules.items), valuing.unusable) == (3, {})
