"""Stores what customers allow: consents, unsubscriptions, and the history of both.

Statements on `alerts.consent`, `subscription` and `wish`, within an open transaction. All are
stored by the id that they came with, and read for the customer: those of all of its ids.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec
import sqlalchemy as sa

from services.alerts.core.consent import Subscription, Wishes
from services.alerts.core.consent_history import Statement
from services.alerts.ports import ProfileSeen, SubscriptionSeen
from services.alerts.store.merges import IDS_OF, ids_of
from services.alerts.store.tables import subscription as s
from services.alerts.store.tables import wish as w
from shared.contracts.events import Profile
from shared.kernel.grouping import grouped
from shared.postgres.engine import UnitOfWork
from shared.postgres.statements import rows_of

_PROFILE: Final = msgspec.json.Decoder(Profile)


async def state(work: UnitOfWork, profiles: Mapping[str, ProfileSeen]) -> None:
    """Store what these customers' newest profiles consent to; the customers must be locked.

    A channel that the stored profile consented to as well keeps its time, unless a profile in
    between did not.
    """
    if not profiles:
        return
    given = [
        (customer, channel, since, channel in seen.renewed)
        for customer, seen in sorted(profiles.items())
        for channel, since in sorted(seen.consented.items())
    ]
    columns = [[row[n] for row in given] for n in range(4)]
    await work.driver.execute(
        """
        DELETE FROM alerts.consent c WHERE c.customer_id = ANY($1::text[])
           AND NOT EXISTS (SELECT FROM unnest($2::text[], $3::text[]) AS u(customer, channel)
                            WHERE u.customer = c.customer_id AND u.channel = c.channel)
        """,
        list(profiles),
        *columns[:2],
    )
    await work.driver.execute(
        """
        INSERT INTO alerts.consent AS c (customer_id, channel, given_at)
        SELECT customer, channel, since
          FROM unnest($1::text[], $2::text[], $3::timestamptz[]) AS u(customer, channel, since)
        ON CONFLICT (customer_id, channel) DO UPDATE SET given_at = excluded.given_at
         WHERE (c.customer_id, c.channel) IN (
               SELECT * FROM unnest($4::text[], $5::text[]))
        """,
        *columns[:3],
        [row[0] for row in given if row[3]],
        [row[1] for row in given if row[3]],
    )


async def given(work: UnitOfWork, customers: Sequence[str]) -> dict[tuple[str, str], datetime]:
    """Return since when each (customer, channel) is consented to, by the newest profiles.

    Of several ids that consent, since the last of them did."""
    rows = await work.driver.fetch(
        "SELECT u.customer_id, c.channel, max(c.given_at) AS given_at "  # noqa: S608
        f"FROM {IDS_OF} u JOIN alerts.consent c ON c.customer_id = u.came_with GROUP BY 1, 2",
        list(customers),
    )
    return {(row["customer_id"], row["channel"]): row["given_at"] for row in rows}


async def ids(work: UnitOfWork, customer_id: str) -> list[str]:
    """Return all ids of the customer with this id, the primary one first."""
    return [row[0] for row in await work.connection.execute(ids_of(customer_id))]


async def note(work: UnitOfWork, seen: Iterable[SubscriptionSeen]) -> None:
    """Store unsubscriptions and returns: the newest of each kind counts, in whatever order."""
    newest: dict[tuple[str, str, bool], SubscriptionSeen] = {}
    for each in seen:
        key = (each.customer_id, each.channel, each.ended)
        if key not in newest or each.at > newest[key].at:
            newest[key] = each
    for kind, column in ((True, "unsubscribed_at"), (False, "subscribed_at")):
        rows = [x for (_, _, ended), x in sorted(newest.items()) if ended is kind]
        if rows:
            await work.driver.execute(
                f"INSERT INTO alerts.subscription AS s (customer_id, channel, {column}, "  # noqa: S608 (our own names)
                "reported_by) SELECT * FROM unnest($1::text[], $2::text[], "
                "$3::timestamptz[], $4::text[]) ON CONFLICT (customer_id, channel) DO UPDATE "
                f"SET {column} = excluded.{column}, reported_by = excluded.reported_by "
                f"WHERE s.{column} IS NULL OR s.{column} < excluded.{column}",
                [x.customer_id for x in rows],
                [x.channel for x in rows],
                [x.at for x in rows],
                [x.reported_by for x in rows],
            )


async def subscriptions(
    work: UnitOfWork, customers: Sequence[str]
) -> dict[str, list[Subscription]]:
    """Return what is known of these customers' subscriptions."""
    rows = await work.driver.fetch(
        "SELECT u.customer_id, u.came_with, s.channel, s.unsubscribed_at, s.subscribed_at "  # noqa: S608
        f"FROM {IDS_OF} u JOIN alerts.subscription s ON s.customer_id = u.came_with",
        list(customers),
    )
    return grouped(
        (customer, Subscription(channel, away, back, came_with))
        for customer, came_with, channel, away, back in rows
    )


async def wishes(work: UnitOfWork, customers: Collection[str]) -> dict[str, Wishes]:
    """Return what these customers allow."""
    ids = sorted(customers)
    rows = await work.driver.fetch(
        "SELECT customer_id, profile::text FROM alerts.customer "
        "WHERE customer_id = ANY($1::text[]) AND profile IS NOT NULL",
        ids,
    )
    profiles = {r["customer_id"]: _PROFILE.decode(r["profile"]) for r in rows}
    found = await subscriptions(work, ids)
    return {one: Wishes(profiles.get(one, Profile()), found.get(one, ())) for one in ids}


async def keep(work: UnitOfWork, statements: Sequence[Statement], recorded_at: datetime) -> None:
    """Add to the history; what it has already stays as it is. `recorded_at`: wall clock."""
    if not statements:
        return
    await work.driver.execute(
        "INSERT INTO alerts.wish (customer_id, source, event_id, about, at, said, late, "
        "recorded_at) SELECT *, $8::timestamptz FROM unnest($1::text[], $2::text[], "
        "$3::text[], $4::text[], $5::timestamptz[], $6::text[], $7::bool[]) "
        "ON CONFLICT DO NOTHING",
        [s.customer_id for s in statements],
        [s.source for s in statements],
        [s.event_id for s in statements],
        [s.about for s in statements],
        [s.at for s in statements],
        [s.said for s in statements],
        [s.late for s in statements],
        recorded_at,
    )


async def history(
    work: UnitOfWork, customer_id: str, before: int | None, most: int
) -> list[dict[str, Any]]:
    """Return at most `most` statements of a customer, the last read first.

    `before`: number of the last row of the page before.
    """
    query = sa.select(w).where(w.c.customer_id.in_(ids_of(customer_id)))
    if before is not None:
        query = query.where(w.c.seq < before)
    query = query.order_by(w.c.seq.desc()).limit(most)
    return await rows_of(work, query)


async def page(
    work: UnitOfWork,
    customer_id: str | None,
    before: tuple[datetime, str, str] | None,
    most: int,
) -> list[dict[str, Any]]:
    """Return at most `most` records with an unsubscription, newest first.

    `customer_id`: any id of a customer; each record has the id that it came with.
    `before`: (unsubscribed_at, customer, channel) of the last row of the page before.
    """
    query = sa.select(s).where(s.c.unsubscribed_at.is_not(None))
    key = (s.c.unsubscribed_at, s.c.customer_id, s.c.channel)
    if customer_id is not None:
        query = query.where(s.c.customer_id.in_(ids_of(customer_id)))
    if before is not None:
        query = query.where(sa.tuple_(*key) < sa.tuple_(*before))
    query = query.order_by(*(column.desc() for column in key)).limit(most)
    return await rows_of(work, query)
