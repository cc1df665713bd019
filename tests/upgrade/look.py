"""What an installation has stored and sent, and the comparison of two that got the same events."""

import asyncio
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import asyncpg
import numpy as np
from numpy.typing import NDArray

from deploy.demo.backlog import ALERTS, INGEST, SCORING
from shared.contracts.topics import DEAD_LETTER
from tests.e2e.services_on_history import World

TOLERANCE: Final = 1e-9
"""Tolerance of a state's numbers: sums of the same events in other batches differ in the last
digits."""
KINDS: Final = "kinds_"
"""Fields of a state that v0.1.0 did not have: it counted no interaction by kind."""
SETTLED_S_MAX: Final = 90.0
LOOK_S: Final = 0.2
QUIET_LOOKS: Final = 5
"""Looks in a row at which nothing waits: what is in an outbox appears within one of them."""
SHOWN: Final = 3
"""Examples in the description of a difference."""

KEYS = "SELECT customer_id, source, id FROM scoring.event_key"
EVENTS = """
    SELECT original_customer_id, body ->> 'source', body ->> 'id', body ->> 'contenthash'
      FROM (SELECT *, convert_from(payload, 'UTF8')::json AS body FROM scoring.event) events
     WHERE original_customer_id <> $1
"""
ASSESSMENTS = """
    SELECT customer_id, revision, assessed_at FROM scoring.assessment_history
"""
DELIVERIES = "SELECT customer_id, id, endpoint_id, status FROM alerts.delivery"
LETTERS = "SELECT value, stage, field FROM ingest.dead_letter"
TASKS = """
    SELECT customer_id, id, cause, episode, status, version, owner_id, language, band,
           horizon_days, revision, opened_at, due_at, close_reason,
           CASE close_reason WHEN 'came_back'
                THEN date_trunc('day', closed_at, 'UTC') ELSE closed_at END
      FROM alerts.task
"""
"""A customer's return counts by its day. Of two purchases of an evening, the task is closed at the
first one where alerts reads the activity before the assessment, and at the one that the assessment
knows otherwise; alerts reads the two topics side by side, in no order."""
PERSON: Final = "asked-to-be-forgotten"
"""A customer beside the panel, with one event over HTTP, who is erased. Scoring's loop deletes the
stored event within a minute, so that it may be there or not."""

Row = tuple[Any, ...]


@dataclass(slots=True)
class Outcome:
    """Everything that counts, at rest."""

    keys: Counter[Row] = field(default_factory=Counter)
    """Events that had their effect."""
    events: Counter[Row] = field(default_factory=Counter)
    """The stored events."""
    customers: list[str] = field(default_factory=list)
    states: NDArray[np.void] | None = None
    assessments: Counter[Row] = field(default_factory=Counter)
    tasks: Counter[Row] = field(default_factory=Counter)
    deliveries: Counter[Row] = field(default_factory=Counter)
    webhooks: Counter[Row] = field(default_factory=Counter)
    """Messages that the receiver took, by id."""
    twice: int = 0
    """Messages that the receiver got again."""
    unsigned: int = 0
    """Messages with a wrong signature."""
    letters: Counter[Row] = field(default_factory=Counter)
    """Stored dead letters, by content: the offset depends on what other processes publish."""
    published_letters: int = 0
    """Records of the topic of dead letters."""


async def settled(world: World) -> None:
    """Return when nothing is left to read or to deliver; raises TimeoutError."""
    async with asyncio.timeout(SETTLED_S_MAX):
        quiet = 0
        while quiet < QUIET_LOOKS:
            pending = await _read(world, "SELECT FROM alerts.delivery WHERE status = 'pending'")
            behind = await world.backlog.behind(INGEST, SCORING, *ALERTS)
            quiet = 0 if pending or behind else quiet + 1
            await asyncio.sleep(LOOK_S)


async def look(world: World) -> Outcome:
    """Read all of it, once everything has settled."""
    await settled(world)
    customers, states = await world.states()
    stats = await world.crm.stats()
    return Outcome(
        keys=Counter(await _read(world, KEYS)),
        events=Counter(await _read(world, EVENTS, PERSON)),
        customers=customers,
        states=states,
        assessments=Counter(await _read(world, ASSESSMENTS)),
        tasks=Counter(await _read(world, TASKS)),
        deliveries=Counter(await _read(world, DELIVERIES)),
        webhooks=Counter((each.webhook_id,) for each in await world.received()),
        twice=stats["duplicates"],
        unsigned=stats["signature_failures"],
        letters=Counter(await _read(world, LETTERS)),
        published_letters=await world.backlog.written(DEAD_LETTER),
    )


def differences(calm: Outcome, rough: Outcome) -> list[str]:
    """Returns what is lost, doubled or otherwise in `rough`, and what `calm` has none of.

    `calm`: an installation of this release that got the same events undisturbed.
    """
    found = [f"{name}: there are none" for name in _COMPARED if not getattr(calm, name)]
    for name in _COMPARED:
        found += _differing(name, getattr(calm, name), getattr(rough, name))
    found += [
        f"{name}: {sum(getattr(rough, name).values())} rows of {len(getattr(rough, name))}"
        for name in ("keys", "events", "assessments", "deliveries", "letters")
        if any(count > 1 for count in getattr(rough, name).values())
    ]
    if rough.published_letters != calm.published_letters:
        found.append(
            f"dead letters published: {rough.published_letters}, not {calm.published_letters}"
        )
    found += _differing("customers", Counter(calm.customers), Counter(rough.customers))
    if calm.customers == rough.customers:
        found += _differing_states(calm, rough)
    found += [f"{n} messages were delivered twice" for n in (rough.twice,) if n]
    found += [f"{n} messages had a wrong signature" for n in (rough.unsigned,) if n]
    return found


_COMPARED: Final = (
    "keys", "events", "assessments", "tasks", "deliveries", "webhooks", "letters",
)  # fmt: skip


def _differing(name: str, calm: Counter[Any], rough: Counter[Any]) -> Iterable[str]:
    for what, rows in (("lost", calm - rough), ("too many", rough - calm)):
        if rows:
            yield f"{name}: {rows.total()} {what}, as {sorted(rows, key=str)[:SHOWN]}"


def _differing_states(calm: Outcome, rough: Outcome) -> Iterable[str]:
    assert calm.states is not None
    assert rough.states is not None
    for name in calm.states.dtype.names or ():
        if name.startswith(KINDS):
            continue
        ought, is_ = calm.states[name], rough.states[name]
        same = np.isclose(ought, is_, TOLERANCE, TOLERANCE, equal_nan=True)
        wrong = np.flatnonzero(~same.reshape(len(ought), -1).all(axis=1))
        if len(wrong):
            examples = [calm.customers[row] for row in wrong[:SHOWN]]
            yield f"states: {name} differs for {len(wrong)} customers, as {examples}"


async def _read(world: World, query: str, *values: str) -> list[Row]:
    connection = await asyncpg.connect(world.database_url)
    try:
        return [tuple(row) for row in await connection.fetch(query, *values)]
    finally:
        await connection.close()
