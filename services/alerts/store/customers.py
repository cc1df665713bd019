"""What is remembered of customers: locked, read and written in batches.

A customer's row is its lock: whoever decides about a customer holds it until the commit. Rows
are always locked in key order, so that two batches with the same customers wait, not deadlock.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime

import msgspec

from services.alerts.core.policy import CustomerState, OpenTask
from services.alerts.ports import Known, ProfileSeen
from shared.contracts.events import Profile
from shared.contracts.risk import Band, Grade
from shared.postgres.engine import UnitOfWork


class _StateRow(msgspec.Struct, kw_only=True, frozen=True):
    """The columns that assessments and purchases change."""

    customer_id: str
    revision: int
    band: Band | None
    probability: float | None
    grade: Grade | None
    armed: bool
    ramp_until: datetime | None
    raised_at: datetime | None
    recent: tuple[datetime, ...] | None
    win_back_at: datetime | None
    episode: int
    purchased_at: datetime | None


class _ProfileRow(msgspec.Struct, kw_only=True, frozen=True):
    customer_id: str
    profile: Profile
    profile_at: datetime
    profile_event_id: str


_COLUMNS = _StateRow.__struct_fields__
_SET = ", ".join(f"{name} = n.{name}" for name in _COLUMNS if name != "customer_id")


class Customers:
    """Statements on `alerts.customer`, within an open transaction."""

    async def lock(self, work: UnitOfWork, customers: Iterable[str]) -> dict[str, Known]:
        """Lock these customers until the commit and read them; those unknown are made."""
        ids = sorted(customers)
        # Nearly all are known: to try to insert those would cost twice as much as to lock them.
        known = await work.driver.fetch(
            "SELECT customer_id FROM alerts.customer WHERE customer_id = ANY($1::text[])", ids
        )
        if len(known) < len(ids):
            await work.driver.execute(
                "INSERT INTO alerts.customer (customer_id) "
                "SELECT id FROM unnest($1::text[]) AS u(id) ORDER BY id ON CONFLICT DO NOTHING",
                sorted(set(ids) - {row["customer_id"] for row in known}),
            )
        rows = await work.driver.fetch(
            "SELECT * FROM alerts.customer WHERE customer_id = ANY($1::text[]) "
            "ORDER BY customer_id FOR UPDATE",
            ids,
        )
        # A statement of its own, after the locks: it sees what their last holders committed.
        tasks = await work.driver.fetch(
            "SELECT customer_id, id, cause, opened_at, kind FROM alerts.task "
            "WHERE customer_id = ANY($1::text[]) AND status = 'open' ORDER BY opened_at, id",
            ids,
        )
        open_tasks: dict[str, list[OpenTask]] = {}
        for t in tasks:
            found = open_tasks.setdefault(t["customer_id"], [])
            by_risk = t["kind"] in ("retention", "win_back")
            found.append(OpenTask(t["id"], t["cause"], t["opened_at"], by_risk))
        return {
            row["customer_id"]: _known(dict(row), tuple(open_tasks.get(row["customer_id"], ())))
            for row in rows
        }

    async def note_purchases(self, work: UnitOfWork, newest: Mapping[str, datetime]) -> set[str]:
        """Keep each customer's newest purchase; returns those with an open task.

        One statement for all, without reading them: few of those who buy have a task. It locks
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

    async def write(self, work: UnitOfWork, states: Iterable[CustomerState]) -> None:
        """Store the states of customers that are locked."""
        rows = [
            _StateRow(**{name: getattr(state, name) for name in _COLUMNS})
            for state in sorted(states, key=lambda s: s.customer_id)
        ]
        if rows:
            await work.driver.execute(
                f"UPDATE alerts.customer c SET {_SET} "  # noqa: S608 (names of our own columns)
                "FROM json_populate_recordset(NULL::alerts.customer, $1::json) n "
                "WHERE c.customer_id = n.customer_id",
                msgspec.json.encode(rows).decode(),
            )

    async def write_profiles(self, work: UnitOfWork, seen: Mapping[str, ProfileSeen]) -> None:
        """Store profiles of customers that are locked, whose newest they are."""
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


def _known(row: dict[str, object], open_tasks: tuple[OpenTask, ...]) -> Known:
    stored = row["profile"]
    profile = None if stored is None else msgspec.convert(stored, Profile)
    at = row["profile_at"]
    event_id = row["profile_event_id"]
    seen = None
    if profile is not None and isinstance(at, datetime) and isinstance(event_id, str):
        seen = ProfileSeen(profile, at, event_id)
    columns = msgspec.convert({name: row[name] for name in _COLUMNS}, _StateRow)
    state = CustomerState(
        **(msgspec.structs.asdict(columns) | {"recent": columns.recent or ()}),
        do_not_contact_at=seen.at if seen and seen.profile.do_not_contact else None,
        open=open_tasks,
    )
    return Known(state, seen)
