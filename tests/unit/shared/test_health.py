"""Readiness is accurate: a freeze is reported in time, and a recovery needs no action."""

import asyncio

import pytest

from shared.runtime import health as module
from shared.runtime.health import Health
from tests.fakes.clock import SetClock


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def health(clock: SetClock) -> Health:
    made = Health(clock)
    made.started = True
    return made


async def test_a_dependency_that_hangs_is_reported_and_asked_once(
    health: Health, clock: SetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A frozen server accepts the query and does not answer: every probe answers all the same.

    No second query waits behind the first.
    """
    monkeypatch.setattr(module, "ANSWER_S_MAX", 0.05)
    thawed = asyncio.Event()
    asked = 0

    async def frozen() -> str | None:
        nonlocal asked
        asked += 1
        await thawed.wait()
        return None

    async def well() -> str | None:
        return None

    health.add_check("postgres", frozen)
    health.add_check("kafka", well)
    assert await health.missing() == {"postgres": "no answer for 0 s"}
    clock.seconds += 7
    assert await health.missing() == {"postgres": "no answer for 7 s"}
    assert asked == 1
    thawed.set()
    assert await health.missing() == {}
    assert await health.missing() == {}
    assert asked == 2


async def test_all_are_asked_at_once(health: Health, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two checks that hang take no longer than one."""
    monkeypatch.setattr(module, "ANSWER_S_MAX", 0.05)

    async def frozen() -> str | None:
        await asyncio.sleep(60)
        return None

    for name in ("a", "b", "c"):
        health.add_check(name, frozen)
    async with asyncio.timeout(1):
        assert sorted(await health.missing()) == ["a", "b", "c"]


async def test_notes_do_not_make_it_unready(health: Health) -> None:
    """Notes are listed beside the checks."""

    async def unusable() -> str | None:
        return "lgbm-1: made for another release"

    health.add_note("model_unusable", unusable)
    assert await health.missing() == {}
    assert await health.notes() == {"model_unusable": "lgbm-1: made for another release"}


async def test_a_check_with_a_bug_fails(health: Health) -> None:
    """Raised, its error would end the loop that makes the checks, and the service with it."""

    async def broken() -> str | None:
        raise KeyError("secret")

    health.add_check("postgres", broken)
    assert await health.missing() == {"postgres": "the check itself failed: KeyError"}
    assert health.passing() == {"startup": True, "postgres": False}
