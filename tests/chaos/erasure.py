"""Faults while persons are forgotten: what is deleted stays deleted, and all else stays."""

import random
from collections import Counter
from datetime import UTC, datetime

from services.scoring.store.erasure import CustomerErasure
from shared.contracts import events
from tests.chaos.environment import DAYS, ChaosEnvironment, Story
from tests.chaos.identity import append, tick
from tests.chaos.report import Found
from tests.chaos.workers import kill_at_random
from tests.fakes import activity
from tests.fakes.activity import day
from tests.fakes.generated_history import Happening
from tests.fakes.log import MemoryLog
from tests.fakes.scoring_worker import TOPIC


async def killed(arena: ChaosEnvironment) -> Found:
    """kill -9 at random moments of a log in which every second customer asks to be forgotten."""
    _with_erasures(arena)
    await kill_at_random(arena)
    await arena.finished()
    # Stored events go later, in housekeeping.
    while await CustomerErasure(arena.place.engine).delete_events(datetime.now(UTC)):
        pass
    return await arena.judged_states()


def _with_erasures(arena: ChaosEnvironment) -> None:
    """Let every second customer ask once, after some of its events or all of them.

    The story keeps the events that follow the request: a person may come back.
    """
    happenings = list(arena.story.happenings)
    source = random.Random(11)  # noqa: S311 (repeatable on purpose)
    left = Counter(h.customer for h in happenings)
    ask_at = {c: source.randrange(n) for c, n in sorted(left.items())[::2]}
    log, kept, today = MemoryLog(TOPIC), dict[str, list[Happening]](), 0
    for happening in happenings:
        while happening.time >= day(today + 1):
            today += 1
            tick(log, arena.place.partitions, today)
        customer = happening.customer
        append(log, arena.place.partitions, customer, happening.value())
        kept.setdefault(customer, []).append(happening)
        left[customer] -= 1
        if left[customer] == ask_at.get(customer):
            kept.pop(customer)
            request = activity.event(
                f"forget-{customer}", customer, happening.time, kind=events.ERASURE
            )
            append(log, arena.place.partitions, customer, request)
    tick(log, arena.place.partitions, DAYS + 1)
    rest = sorted((h for each in kept.values() for h in each), key=lambda h: h.time)
    arena.story = Story(rest, log, {})
