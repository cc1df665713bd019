"""The fault matrix of intake and scoring, row by row: names and requirements."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tests.chaos import (
    broker,
    clock,
    disk,
    erasure,
    identity,
    intake,
    postgres,
    soak,
    topics,
    workers,
)
from tests.chaos.environment import (
    PARTITIONS,
    ChaosEnvironment,
    Stand,
    Story,
    arena,
)
from tests.chaos.report import Found, Verdict

EMBEDDED = "the embedded broker cannot be broken like this: install Java >= 17 and Maven"


@dataclass(frozen=True, slots=True)
class Fault:
    """One row of the matrix."""

    name: str
    play: Callable[[ChaosEnvironment], Awaitable[Found]]
    times: int = 1
    """How often it is injected in the short profile; `--times` multiplies it."""
    kafka: bool = False
    """It kills, freezes or damages the broker, or needs it to notice a dead member."""
    short: bool = True
    """Whether it is part of the short profile."""
    partitions: int = PARTITIONS
    impossible: Callable[[], str | None] = lambda: None
    """Returns why it cannot run on this machine."""


FAULTS = (
    Fault("worker killed at random", workers.killed, 2),
    Fault("worker killed at named points", workers.killed_at_points, 1),
    Fault("zombie wakes after its session", workers.zombie, kafka=True),
    Fault("zombie holds a lock", workers.zombie_with_a_lock),
    Fault("rebalance storm", workers.storm, 2, kafka=True),
    Fault("killed while ids become one customer", identity.killed, 2),
    Fault("merge during take-over", identity.taken_over, 2, kafka=True),
    Fault("killed while customers are forgotten", erasure.killed, 2),
    Fault("PostgreSQL down at take-over", postgres.away_at_take_over),
    Fault("PostgreSQL killed", postgres.killed, 1),
    Fault("PostgreSQL sessions ended", postgres.sessions_ended, 2),
    Fault("connection cut in COMMIT", postgres.cut_in_commit, 1),
    Fault("deadlock", postgres.deadlocked, 1),
    Fault("disk full", postgres.disk_full, impossible=disk.impossible),
    Fault("broker restarted and killed", broker.restarted, 1, kafka=True),
    Fault("broker frozen", broker.frozen, kafka=True),
    Fault("network black hole", broker.black_hole, 1, kafka=True),
    Fault("connections reset", broker.reset, 1, kafka=True),
    Fault("topic recreated", topics.recreated, kafka=True),
    Fault("retention passed us", topics.passed_by_retention, kafka=True),
    Fault("partitions added", topics.partitions_added, kafka=True, partitions=3),
    Fault("every record twice", topics.sent_twice),
    Fault("full rewind", topics.rewound),
    Fault("ingest killed", intake.killed, 2),
    Fault("poison", intake.poison),
    Fault("nothing but poison", intake.flood),
    Fault("late and future events", clock.late_and_future),
    Fault("clock jumps by an hour", clock.jump),
    Fault("lag, then catch-up", clock.lag),
    Fault("soak", soak.soak, 1, kafka=True, short=False),
)


async def play(fault: Fault, stand: Stand, story: Story, *, long: bool, times: int) -> Verdict:
    """Runs one row, from fresh topics and tables to its verdict."""
    if fault.kafka and stand.stack.broker == "embedded":
        return Verdict.not_run(fault.name, EMBEDDED)
    if (why := fault.impossible()) is not None:
        return Verdict.not_run(fault.name, why)
    injections = fault.times * times
    async with arena(
        stand, story, long=long, times=injections, partitions=fault.partitions
    ) as made:
        found = await fault.play(made)
        recovery = max(made.recoveries, default=None)
        return Verdict.of(fault.name, made.injected, recovery, found)
