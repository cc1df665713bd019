"""Which item is set aside when work fails or processes die, and which are not; in memory."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from shared.kernel.errors import Transient
from shared.runtime.isolation import (
    ALONE_FROM,
    ALONE_MAX,
    ASIDE_MAX,
    MARKED_BATCHES,
    READ_S,
    ItemIsolation,
)
from tests.fakes.clock import SetClock
from tests.fakes.item_failures import FailuresInMemory

KIND = "task"
DEATHS = ALONE_FROM + ALONE_MAX


class Death(BaseException):
    """Stands for the end of the process in the middle of its work."""


@dataclass
class World:
    """Items that are due until they are done, and processes one after another."""

    due: set[str]
    kills: set[str] = field(default_factory=set)
    raises: set[str] = field(default_factory=set)
    rows: FailuresInMemory = field(default_factory=FailuresInMemory)
    clock: SetClock = field(default_factory=SetClock)
    done: list[str] = field(default_factory=list)
    deaths: int = 0

    def process(self) -> ItemIsolation:
        """Start a new process; a process that died writes nothing more."""
        self.rows = FailuresInMemory(dict(self.rows.begun), dict(self.rows.held))
        return ItemIsolation(self.rows, self.clock, lambda _: None)

    async def work(self, items: Sequence[str]) -> None:
        """Do all of the work or none, as a transaction."""
        if self.kills & {*items}:
            self.rows.dead = True
            raise Death
        if self.raises & {*items}:
            raise KeyError(min(self.raises & {*items}))
        self.done += items
        self.due -= {*items}

    @property
    def aside(self) -> set[str]:
        """The items that are set aside."""
        return {s.item for s in self.rows.held.values() if s.aside_at is not None}

    async def run(self, turns: int = 100) -> None:
        """Run iterations until everything due is done or set aside."""
        process = self.process()
        for _ in range(turns):
            if self.due <= self.aside:
                return
            try:
                await process.each(KIND, sorted(self.due), self.work)
            except Death:
                self.deaths += 1
                process = self.process()
        raise AssertionError("it never ends")


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Suppress the output of hundreds of faults."""
    with structlog.testing.capture_logs():
        yield


ITEMS = st.sets(st.sampled_from([f"item-{n}" for n in range(30)]), min_size=1)


@given(due=ITEMS, bad=st.sets(st.sampled_from([f"item-{n}" for n in range(30)]), max_size=3))
async def test_only_what_kills_is_set_aside(due: set[str], bad: set[str]) -> None:
    world = World(set(due), kills=bad)
    await world.run()
    assert world.aside == due & bad
    assert sorted(world.done) == sorted(due - bad)
    assert world.deaths <= DEATHS * len(due & bad)


@given(due=ITEMS, bad=ITEMS)
async def test_what_raises_costs_no_death(due: set[str], bad: set[str]) -> None:
    world = World(set(due), raises=bad)
    await world.run()
    assert (world.aside, world.deaths) == (due & bad, 0)
    assert sorted(world.done) == sorted(due - bad)


async def test_one_that_kills_costs_five_deaths() -> None:
    world = World({"a", "b", "c"}, kills={"b"})
    await world.run()
    assert (world.deaths, world.aside, sorted(world.done)) == (DEATHS, {"b"}, ["a", "c"])


async def test_others_are_served_while_one_fails() -> None:
    world = World({"a", "b", "c"}, raises={"b"})
    process = world.process()
    assert await process.each(KIND, sorted(world.due), world.work) == 2
    assert (sorted(world.done), world.aside) == (["a", "c"], set())


async def test_the_reason_names_the_place_and_no_value() -> None:
    world = World({"secret-name"}, raises={"secret-name"})
    await world.run()
    (held,) = world.rows.held.values()
    assert held.reason.startswith("KeyError in test_careful.py, line ")
    assert "secret" not in held.reason


async def test_what_is_released_is_tried_anew_and_what_succeeds_is_forgotten() -> None:
    world = World({"a"}, raises={"a"})
    await world.run()
    process = world.process()
    assert await process.each(KIND, ["a"], world.work) == 0
    assert "1 of task" in str(await process.note())
    world.raises.clear()
    world.rows.held.clear()
    assert await process.each(KIND, ["a"], world.work) == 0, "not known yet"
    world.clock.pass_by(timedelta(seconds=READ_S))
    assert await process.each(KIND, ["a"], world.work) == 1
    assert (world.rows.held, await process.note()) == ({}, None)


async def test_a_fault_of_everything_is_no_fault_of_items() -> None:
    names = {f"item-{n:04}" for n in range(ASIDE_MAX + 5)}
    world = World(set(names), raises=names)
    process = world.process()
    with pytest.raises(KeyError):
        for _ in range(ALONE_MAX + 1):
            await process.each(KIND, sorted(world.due), world.work)
    assert len(world.aside) == ASIDE_MAX


async def test_trouble_that_passes_is_held_against_nothing() -> None:
    world = World({"a"})

    async def away(_: Sequence[str]) -> None:
        raise Transient("PostgreSQL is away")

    process = world.process()
    for _ in range(20):
        with pytest.raises(Transient):
            await process.each(KIND, ["a"], away)
    assert (world.rows.held, world.rows.begun) == ({}, {})


async def test_a_process_that_is_stopped_has_not_died() -> None:
    world = World({"a"})

    begun = asyncio.Event()

    async def endless(_: Sequence[str]) -> None:
        begun.set()
        await asyncio.Event().wait()

    running = asyncio.create_task(world.process().each(KIND, ["a"], endless))
    await begun.wait()
    assert world.rows.begun
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert world.rows.begun == {}


async def test_a_process_that_lives_notes_nothing_in_the_long_run() -> None:
    world = World(set())
    process = world.process()
    for n in range(200):
        await process.each(KIND, [str(n)], world.work)
    assert world.rows.written == MARKED_BATCHES


async def test_what_is_within_is_set_aside_and_not_what_is_around_it() -> None:
    world = World({"a", "b"}, kills={"b"})

    async def step(process: ItemIsolation) -> None:
        async def inner(_: Sequence[str]) -> None:
            await process.each(KIND, sorted(world.due), world.work)

        await process.each("step", ["expire"], inner, outer=True)

    process = world.process()
    for _ in range(DEATHS + 1):
        try:
            await step(process)
        except Death:
            process = world.process()
    assert (world.aside, world.done) == ({"b"}, ["a"])
    assert {s.kind for s in world.rows.held.values()} == {KIND}


async def test_what_cannot_be_noted_is_done_all_the_same() -> None:
    world = World({"a"})
    process = world.process()

    async def away(*_: object) -> None:
        raise Transient("no connection is free")

    world.rows.begin = away  # type: ignore[assignment,method-assign]
    assert await process.each(KIND, ["a"], world.work) == 1
    assert world.done == ["a"]
