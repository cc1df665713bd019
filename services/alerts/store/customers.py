"""Locks, reads and writes customer states in batches, within an open transaction.

A customer's row is its lock: a transaction that decides on a customer holds it until the commit.
Rows are always locked in key order, so that two batches with the same customers wait, not deadlock.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from operator import attrgetter
from typing import TYPE_CHECKING

import msgspec

from services.alerts.core.consent import Subscription, not_profiled_since
from services.alerts.core.customer import NO_REVISION, CustomerState, OpenTask, WarnedCause
from services.alerts.core.task import BY_RISK
from services.alerts.ports import KnownCustomer, ProfileSeen
from services.alerts.store import consents as consent_store
from services.alerts.store.of_every_service import ERASURES
from shared.contracts.events import Profile
from shared.postgres.engine import UnitOfWork

if TYPE_CHECKING:  # the class is generic for the type checker only
    import asyncpg


class _ProfileRow(msgspec.Struct, kw_only=True, frozen=True):
    customer_id: str
    profile: Profile
    profile_at: datetime
    profile_event_id: str


class _Own(msgspec.Struct, frozen=True, omit_defaults=True):
    """The profile that came with the primary id alone; all None where there was none."""

    profile: Profile | None = None
    at: datetime | None = None
    event_id: str | None = None


_TYPES = {
    "customer_id": "text",
    "revision": "bigint",
    "band": "text",
    "probability": "float8",
    "value_at_risk": "float8",
    "currency": "text",
    "horizon_days": "int",
    "grade": "text",
    "warned": "text",
    "ramp_until": "timestamptz",
    "recent": "text",
    "episode": "int",
    "purchased_at": "timestamptz",
    "leaving_cause": "text",
    "leaving_at": "timestamptz",
    "graded_at": "timestamptz",
    "life": "int",
}
"""The columns that assessments, purchases and verdicts change, with the types in which they are
sent, in the order of a state's first fields."""
_CASTS = {"recent": "::timestamptz[]", "warned": "::jsonb"}
"""Columns sent as text, since PostgreSQL has no arrays of arrays of different lengths."""

_OFTEN = ("customer_id", "revision", "band", "probability", "value_at_risk", "purchased_at")
"""Columns that nearly every assessment changes. Writing all columns of 2,000 customers, a tenth
with changes in others too, took 1.5 times as long (22 ms against 15; in one run, alternating)."""
_SELDOM = attrgetter(*(name for name in _TYPES if name not in _OFTEN))
_COLUMNS = ", ".join(f"{name}::text" if name == "warned" else name for name in _TYPES)
_RECENT, _WARNED = list(_TYPES).index("recent"), list(_TYPES).index("warned")
_MARKS = msgspec.json.Decoder(tuple[WarnedCause, ...])
_PROFILE = msgspec.json.Decoder(Profile)
_OWN = msgspec.json.Decoder(_Own)
_THESE = (
    f"SELECT {_COLUMNS}, profile::text, profile_at, profile_event_id, part_of, own::text "  # noqa: S608 (names of our own columns)
    "FROM alerts.customer WHERE customer_id = ANY($1::text[])"
)
_ALL_KNOWN = (
    " AND cardinality($1::text[]) = "
    "(SELECT count(*) FROM alerts.customer WHERE customer_id = ANY($1::text[]))"
)
_LOCKED = " ORDER BY customer_id FOR UPDATE"


async def lock(work: UnitOfWork, customers: Iterable[str]) -> dict[str, KnownCustomer]:
    """Lock these customers until the commit and read them; missing rows are created."""
    ids = sorted(customers)
    # Nearly always all rows exist: then one statement locks them. Otherwise it locks none:
    # rows created afterwards would be locked out of order.
    rows = await work.driver.fetch(_THESE + _ALL_KNOWN + _LOCKED, ids)
    if len(rows) < len(ids):
        await work.driver.execute(
            "INSERT INTO alerts.customer (customer_id) SELECT id FROM unnest($1::text[]) u(id) "
            "WHERE NOT EXISTS (SELECT FROM alerts.customer WHERE customer_id = id) "
            "ORDER BY id ON CONFLICT DO NOTHING",
            ids,
        )
        rows = await work.driver.fetch(_THESE + _LOCKED, ids)
    rows = await _with_lives(work, rows)
    # A separate statement after the locks: it sees what their last holders committed.
    tasks = await work.driver.fetch(
        "SELECT customer_id, id, cause, opened_at, kind, causes FROM alerts.task "
        "WHERE customer_id = ANY($1::text[]) AND status = 'open' ORDER BY opened_at, id",
        ids,
    )
    wishes = await consent_store.subscriptions(work, ids)
    open_tasks: dict[str, list[OpenTask]] = {}
    for t in tasks:
        found = open_tasks.setdefault(t["customer_id"], [])
        causes = tuple(t["causes"]) or (t["cause"],)
        found.append(OpenTask(t["id"], t["cause"], t["opened_at"], t["kind"] in BY_RISK, causes))
    return {
        row["customer_id"]: _known(
            row,
            tuple(open_tasks.get(row["customer_id"], ())),
            tuple(wishes.get(row["customer_id"], ())),
        )
        for row in rows
    }


async def _with_lives(work: UnitOfWork, rows: "list[asyncpg.Record]") -> "list[asyncpg.Record]":
    """Return the rows; first notes the life of customers who came back after an erasure."""
    # A customer who came back has a new row, which is locked before its first assessment is stored.
    fresh = [r["customer_id"] for r in rows if not r["life"] and r["revision"] == NO_REVISION]
    erased = await ERASURES.marked(work, fresh)
    if not erased:
        return rows
    await work.driver.execute(
        "UPDATE alerts.customer c SET life = u.life FROM unnest($1::text[], $2::int[]) "
        "AS u(customer_id, life) WHERE c.customer_id = u.customer_id",
        list(erased),
        [int(at.timestamp() // 60) for at in erased.values()],
    )
    return await work.driver.fetch(_THESE + _LOCKED, [row["customer_id"] for row in rows])


async def note_purchases(work: UnitOfWork, newest: Mapping[str, datetime]) -> set[str]:
    """Store each customer's newest purchase; return the customers with an open task.

    It is one statement that reads no states, since few customers who buy have a task. It locks
    their rows as `lock` does, so an assessment of one of them comes wholly before or after.
    """
    ids = sorted(newest)
    await work.driver.execute(
        "INSERT INTO alerts.customer AS c (customer_id, purchased_at) "
        "SELECT * FROM unnest($1::text[], $2::timestamptz[]) AS u(id, at) ORDER BY id "
        "ON CONFLICT (customer_id) DO UPDATE "
        "SET purchased_at = greatest(c.purchased_at, excluded.purchased_at)",
        ids,
        [newest[customer] for customer in ids],
    )
    rows = await work.driver.fetch(
        "SELECT DISTINCT customer_id FROM alerts.task "
        "WHERE customer_id = ANY($1::text[]) AND status = 'open'",
        ids,
    )
    return {row["customer_id"] for row in rows}


async def write(
    work: UnitOfWork, states: Iterable[CustomerState], before: Mapping[str, KnownCustomer]
) -> None:
    """Store the states of locked customers; `before` holds their states as read."""
    whole: list[CustomerState] = []
    often: list[CustomerState] = []
    for state in states:
        changed = _SELDOM(state) != _SELDOM(before[state.customer_id].state)
        (whole if changed else often).append(state)
    for names, rows in ((_OFTEN, often), (tuple(_TYPES), whole)):
        if rows:
            rows.sort(key=attrgetter("customer_id"))
            await work.driver.execute(_update(names), *(_column(rows, n) for n in names))


async def write_profiles(work: UnitOfWork, seen: Mapping[str, ProfileSeen]) -> None:
    """Store profiles of locked customers with one id; each must be the customer's newest."""
    rows = [
        _ProfileRow(
            customer_id=customer,
            profile=found.profile,
            profile_at=found.at,
            profile_event_id=found.event_id,
        )
        for customer, found in sorted(seen.items())
    ]
    if rows:
        await work.driver.execute(
            "UPDATE alerts.customer c SET profile = n.profile, profile_at = n.profile_at, "
            "profile_event_id = n.profile_event_id "
            "FROM json_populate_recordset(NULL::alerts.customer, $1::json) n "
            "WHERE c.customer_id = n.customer_id",
            msgspec.json.encode(rows).decode(),
        )


async def write_own(work: UnitOfWork, seen: Mapping[str, ProfileSeen]) -> None:
    """Store profiles that came with the primary ids of locked customers with several."""
    if seen:
        rows = sorted(seen.items())
        await work.driver.execute(
            "UPDATE alerts.customer c SET own = n.own::jsonb "
            "FROM unnest($1::text[], $2::text[]) AS n(customer_id, own) "
            "WHERE c.customer_id = n.customer_id",
            [customer for customer, _ in rows],
            [msgspec.json.encode(_Own(x.profile, x.at, x.event_id)).decode() for _, x in rows],
        )


def _update(names: Sequence[str]) -> str:
    """Return the statement that stores these columns, each sent as an array."""
    arrays = ", ".join(f"${n}::{_TYPES[name]}[]" for n, name in enumerate(names, 1))
    changes = ", ".join(
        f"{name} = n.{name}{_CASTS.get(name, '')}" for name in names if name != "customer_id"
    )
    return (
        f"UPDATE alerts.customer c SET {changes} FROM unnest({arrays}) "  # noqa: S608 (our own names)
        f"AS n({', '.join(names)}) WHERE c.customer_id = n.customer_id"
    )


def _column(states: Sequence[CustomerState], name: str) -> list[object]:
    values = [getattr(state, name) for state in states]
    if name == "recent":
        return [_array(times) for times in values]
    if name == "warned":
        return [msgspec.json.encode(marks).decode() if marks else None for marks in values]
    return values


def _array(times: Sequence[datetime]) -> str | None:
    """Return times as the text of a PostgreSQL array; None where there are none."""
    return "{" + ",".join(each.isoformat() for each in times) + "}" if times else None


def _known(
    row: "asyncpg.Record",
    open_tasks: tuple[OpenTask, ...],
    subscriptions: tuple[Subscription, ...],
) -> KnownCustomer:
    *columns, document, at, event_id, part_of, own = row
    seen = alone = None
    if document is not None and at is not None and event_id is not None:
        seen = alone = ProfileSeen(_PROFILE.decode(document), at, event_id)
    if own is not None:
        alone = _alone(_OWN.decode(own))
    columns[_RECENT] = tuple(columns[_RECENT] or ())
    marks = columns[_WARNED]
    columns[_WARNED] = _MARKS.decode(marks) if marks else ()
    do_not_contact_at = seen.at if seen and seen.profile.do_not_contact else None
    wished = (do_not_contact_at, not_profiled_since(subscriptions))
    state = CustomerState(*(*columns, *wished, open_tasks))
    return KnownCustomer(
        state,
        seen,
        part_of,
        grouped=own is not None,
        own=alone,
        subscriptions=subscriptions,
    )


def _alone(own: _Own) -> ProfileSeen | None:
    if own.profile is None or own.at is None or own.event_id is None:
        return None
    return ProfileSeen(own.profile, own.at, own.event_id)
