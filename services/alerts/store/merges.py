"""SQL of customers that become one and come apart; both are locked by the caller.

What came with an id stays under it: purchases, profile, consents, unsubscriptions, feedback. The
customer has copies of the purchases, one profile made of all, and open tasks with their messages;
everything else is read by all of its ids (`IDS_OF`).
"""

from collections.abc import Collection, Sequence
from typing import Final

import msgspec
import sqlalchemy as sa

from services.alerts.core.task import Task
from services.alerts.ports import ProfileSeen
from services.alerts.store.tables import customer as c
from shared.contracts.events import Profile
from shared.contracts.profiles import Dated, merged
from shared.kernel.grouping import grouped
from shared.postgres.engine import UnitOfWork

_TASK = ", ".join(f"t.{name}" for name in Task.__struct_fields__)
_PROFILE: Final = msgspec.json.Decoder(Profile)

IDS_OF: Final = """(
  SELECT u.id AS customer_id, u.id AS came_with FROM unnest($1::text[]) AS u(id)
   UNION ALL
  SELECT part_of, customer_id FROM alerts.customer WHERE part_of = ANY($1::text[])
)"""
"""Each of the customers `$1` with each of its ids."""

_REMADE: Final = """
SELECT part_of, profile_at, profile_event_id, profile::text FROM alerts.customer
 WHERE part_of = ANY($1::text[]) AND contact IS NOT TRUE AND profile IS NOT NULL
 UNION ALL
SELECT customer_id, (own ->> 'at')::timestamptz, own ->> 'event_id', (own -> 'profile')::text
  FROM alerts.customer WHERE customer_id = ANY($1::text[]) AND own ? 'profile'
"""


def ids_of(customer_id: str) -> sa.CompoundSelect[str]:
    """Returns a query for all ids of the customer with this id, which may be any of them."""
    part_of = sa.select(c.c.part_of).where(c.c.customer_id == customer_id).scalar_subquery()
    primary = sa.func.coalesce(part_of, customer_id)
    return sa.select(primary).union_all(sa.select(c.c.customer_id).where(c.c.part_of == primary))


async def primaries(work: UnitOfWork, ids: Collection[str]) -> dict[str, str]:
    """Return of which customer each of these ids is part, where it is; it locks nothing."""
    rows = await work.driver.fetch(
        "SELECT customer_id, part_of FROM alerts.customer "
        "WHERE customer_id = ANY($1::text[]) AND part_of IS NOT NULL",
        list(ids),
    )
    return {row["customer_id"]: row["part_of"] for row in rows}


async def join(work: UnitOfWork, customer: str, to: str, *, contact: bool) -> None:
    """Make an id part of the customer `to`, with all ids that are part of it."""
    run = work.driver.execute
    await run(
        "UPDATE alerts.customer SET own = jsonb_strip_nulls(jsonb_build_object("
        "'profile', profile, 'at', profile_at, 'event_id', profile_event_id)) "
        "WHERE customer_id = $1 AND own IS NULL",
        to,
    )
    await run("UPDATE alerts.customer SET part_of = $2 WHERE part_of = $1", customer, to)
    await _alone(work, customer)
    await run(
        "UPDATE alerts.customer SET part_of = $2, contact = $3 WHERE customer_id = $1",
        customer,
        to,
        contact,
    )


async def leave(work: UnitOfWork, customer: str, of: str) -> None:
    """Make an id that is part of `of` a customer of its own."""
    await work.driver.execute(
        "UPDATE alerts.customer SET part_of = NULL, contact = NULL WHERE customer_id = $1",
        customer,
    )
    await _alone(work, of)


async def _alone(work: UnitOfWork, customer: str) -> None:
    """Give the primary id of a customer its own profile back; `own` goes with the last id."""
    await work.driver.execute(
        "UPDATE alerts.customer SET profile = own -> 'profile', "
        "profile_at = (own ->> 'at')::timestamptz, profile_event_id = own ->> 'event_id', "
        "own = CASE WHEN EXISTS (SELECT FROM alerts.customer WHERE part_of = $1) THEN own END "
        "WHERE customer_id = $1 AND own IS NOT NULL",
        customer,
    )


async def remade(work: UnitOfWork, customers: Collection[str]) -> dict[str, ProfileSeen]:
    """Return the profile of each of these customers with several ids, made of those of all.

    An account's is its own: those of contacts are left out."""
    if not customers:
        return {}
    rows = await work.driver.fetch(_REMADE, list(customers))
    found = grouped(
        (customer, (at, event_id, _PROFILE.decode(packed)))
        for customer, at, event_id, packed in rows
    )
    return {customer: _seen(merged(profiles)) for customer, profiles in found.items()}


async def take_over(work: UnitOfWork, customer: str, to: str) -> None:
    """Adds to `to` the purchases and trials of a customer, and what was warned about.

    Trials of both that are under way in different arms show nothing of an effect.
    """
    run, both = work.driver.execute, (customer, to)
    await run(
        "INSERT INTO alerts.purchase (customer_id, source, id, at, amount, refund, came_with) "
        "SELECT $2, source, id, at, amount, refund, coalesce(came_with, $1) "
        "FROM alerts.purchase WHERE customer_id = $1 ON CONFLICT DO NOTHING",
        *both,
    )
    await run(
        "DELETE FROM alerts.purchase WHERE customer_id = $1 AND came_with IS NOT NULL", customer
    )
    await run(
        "UPDATE alerts.trial t SET eligible = false FROM alerts.trial o "
        "WHERE t.measured_at IS NULL AND o.measured_at IS NULL AND t.arm <> o.arm "
        "AND ((t.customer_id = $1 AND o.customer_id = $2) "
        "OR (t.customer_id = $2 AND o.customer_id = $1))",
        *both,
    )
    await run(
        "UPDATE alerts.trial SET customer_id = $2, came_with = coalesce(came_with, $1) "
        "WHERE customer_id = $1",
        *both,
    )
    await run(
        "UPDATE alerts.customer c SET purchased_at = greatest(c.purchased_at, o.purchased_at), "
        "leaving_cause = coalesce(c.leaving_cause, o.leaving_cause), "
        "leaving_at = coalesce(c.leaving_at, o.leaving_at), "
        "warned = coalesce(c.warned, o.warned), recent = coalesce(c.recent, o.recent) "
        "FROM alerts.customer o WHERE o.customer_id = $1 AND c.customer_id = $2",
        *both,
    )


async def give_back(work: UnitOfWork, customer: str, of: str) -> None:
    """Takes from `of` what came with a customer who was part of it."""
    run, both = work.driver.execute, (customer, of)
    await run(
        "DELETE FROM alerts.purchase WHERE customer_id = $2 AND came_with = $1",
        *both,
    )
    await run(
        "UPDATE alerts.trial SET customer_id = $1, came_with = NULL "
        "WHERE customer_id = $2 AND came_with = $1",
        *both,
    )
    await run(
        "UPDATE alerts.customer c SET purchased_at = coalesce((SELECT max(p.at) "
        "FROM alerts.purchase p WHERE p.customer_id = $2 AND NOT p.refund), c.purchased_at), "
        "warned = nullif(c.warned, o.warned), recent = nullif(c.recent, o.recent), "
        "leaving_cause = CASE WHEN c.leaving_at = o.leaving_at THEN NULL "
        "ELSE c.leaving_cause END, leaving_at = nullif(c.leaving_at, o.leaving_at) "
        "FROM alerts.customer o WHERE o.customer_id = $1 AND c.customer_id = $2",
        *both,
    )


async def move_tasks(work: UnitOfWork, tasks: Sequence[str], customer: str, to: str) -> list[Task]:
    """Makes open tasks of a customer those of another, with a new version; returns them.

    Messages to the customer by these tasks follow."""
    rows = await work.driver.fetch(
        f"UPDATE alerts.task t SET customer_id = $3, version = t.version + 1, "  # noqa: S608
        "came_with = CASE WHEN t.came_with = $3 THEN NULL ELSE coalesce(t.came_with, $2) END "
        f"WHERE t.customer_id = $2 AND t.id = ANY($1::text[]) RETURNING {_TASK}",
        list(tasks),
        customer,
        to,
    )
    for table in ("remote_task", "customer_message"):
        await work.driver.execute(
            f"UPDATE alerts.{table} SET customer_id = $3 "  # noqa: S608 (our own names)
            "WHERE customer_id = $2 AND task_id = ANY($1::text[])",
            list(tasks),
            customer,
            to,
        )
    return [msgspec.convert(dict(row), Task) for row in rows]


async def came_with(work: UnitOfWork, customer: str, at: str) -> list[str]:
    """Returns the open tasks of `at` that came with this customer."""
    rows = await work.driver.fetch(
        "SELECT id FROM alerts.task WHERE customer_id = $2 AND came_with = $1 AND status = 'open'",
        customer,
        at,
    )
    return [row["id"] for row in rows]


def _seen(made: Dated) -> ProfileSeen:
    at, event_id, profile = made
    return ProfileSeen(profile, at, event_id)
