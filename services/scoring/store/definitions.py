"""Stores decisions about value: policies, segments, grade overrides and absences.

Policies and segments are stored as new versions and never changed in place. Saving one requests a
new assessment of every customer, which `store.value_jobs` carries out in bounded steps.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import distinct_on, insert

from services.scoring.core.risk.timers import AFTER_BACKFILL, PULLED
from services.scoring.core.segments.rules import SEGMENTS_MAX
from services.scoring.store.value_tables import (
    absence,
    grade_override,
    segment_definition,
    segment_member,
    value_policy,
)
from shared.kernel.errors import Invalid
from shared.postgres.engine import UnitOfWork, unit_of_work
from shared.postgres.statements import Statements, select

ONE_WRITER: Final = sa.text("SELECT pg_advisory_xact_lock(hashtext('scoring.decisions'))")
"""Lock for one writer at a time: versions must become visible in order, or a poll misses one."""

REASSESS: Final = sa.text(
    "UPDATE scoring.value_job SET requested = requested + 1, requested_at = :now, cursor = '' "
    "WHERE name = 'relook'"
)
VERSIONS_SHOWN_MAX: Final = 100
"""Versions returned of one segment or policy, newest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentDefinition:
    """Version of a segment; `Decisions.save_segment` sets the numbers of a new one."""

    id: str
    version: int = 0
    revision: int = 0
    name: str
    description: str
    expression: str
    action: str | None
    act_on_existing: bool
    retired: bool = False
    created_at: datetime


def _newest() -> sa.Subquery:
    """Returns a query of the newest version of every segment."""
    t = segment_definition
    query = sa.select(t).ext(distinct_on(t.c.id)).order_by(t.c.id, t.c.version.desc())
    return query.subquery()


@dataclass(frozen=True, slots=True)
class PolicyVersion:
    """A stored version of the value policy."""

    version: int
    policy: str
    """JSON, see `core.value.policy`."""
    reason: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class AnnouncedAbsence:
    """A stored absence of a customer."""

    begins_at: datetime
    ends_at: datetime
    reason: str
    announced_at: datetime


class Decisions(Statements):
    """Statements on policies, segments, grade overrides and absences."""

    async def save_policy(self, policy: str, reason: str, now: datetime) -> int:
        """Stores a new version of the policy and returns its number."""
        t = value_policy
        async with unit_of_work(self._engine) as work:
            await work.connection.execute(ONE_WRITER)
            query = sa.select(sa.func.coalesce(sa.func.max(t.c.version), 0))
            version = int((await work.connection.execute(query)).scalar_one()) + 1
            await work.connection.execute(
                t.insert().values(version=version, policy=policy, reason=reason, created_at=now)
            )
            await work.connection.execute(REASSESS, {"now": now})
        return version

    async def policies(self) -> list[PolicyVersion]:
        """Reads the versions of the policy, newest first."""
        c = value_policy.c
        query = sa.select(c.version, c.policy, c.reason, c.created_at).order_by(c.version.desc())
        return [
            PolicyVersion(**row)
            for row in await select(self._engine, query.limit(VERSIONS_SHOWN_MAX))
        ]

    async def save_segment(self, given: SegmentDefinition, expected: int) -> SegmentDefinition:
        """Stores a new version of a segment; `expected` is the version the author saw (0: none).

        Raises Invalid where another version was stored meanwhile, or too many segments are in
        force.
        """
        t = segment_definition
        async with unit_of_work(self._engine) as work:
            await work.connection.execute(ONE_WRITER)
            current = await self._current(work, given.id)
            version = 0 if current is None else current.version
            live = current is not None and not current.retired
            # A retired segment may be defined anew as if it had never existed.
            if expected != version and (live or expected != 0):
                raise Invalid("version", f"the segment is at version {version}, not {expected}")
            if not given.retired and not live and await self._in_force(work) >= SEGMENTS_MAX:
                raise Invalid("id", f"{SEGMENTS_MAX} segments are in force: retire one first")
            query = sa.select(sa.func.coalesce(sa.func.max(t.c.revision), 0))
            revision = int((await work.connection.execute(query)).scalar_one()) + 1
            values = {name: getattr(given, name) for name in SegmentDefinition.__slots__}
            values |= {"version": version + 1, "revision": revision}
            await work.connection.execute(t.insert().values(**values))
            await work.connection.execute(REASSESS, {"now": given.created_at})
        return SegmentDefinition(**values)

    async def retire_segment(self, segment_id: str, now: datetime) -> SegmentDefinition | None:
        """Retires a segment, whatever the form of its id; returns None where none is in force."""
        found = await self.segment(segment_id)
        if found is None or found.retired:
            return None
        return await self.save_segment(replace(found, retired=True, created_at=now), found.version)

    async def segment(self, segment_id: str) -> SegmentDefinition | None:
        """Reads the newest version of a segment, retired or not."""
        async with unit_of_work(self._engine) as work:
            return await self._current(work, segment_id)

    async def segments(self) -> list[SegmentDefinition]:
        """Reads the segments in force, by id."""
        newest = _newest()
        query = sa.select(newest).where(~newest.c.retired).order_by(newest.c.id)
        return [SegmentDefinition(**row) for row in await select(self._engine, query)]

    async def sizes(self) -> dict[str, int]:
        """Counts the present customers of each segment."""
        m = segment_member
        query = sa.select(m.c.segment_id, sa.func.count().label("n")).group_by(m.c.segment_id)
        return {row["segment_id"]: row["n"] for row in await select(self._engine, query)}

    async def set_grade(
        self, customer: str, grade: str, reason: str, now: datetime, expires: datetime
    ) -> None:
        """Sets a grade until `expires`; an earlier override ends now."""
        async with unit_of_work(self._engine) as work:
            await self._end(work, customer, now)
            await work.connection.execute(
                grade_override.insert().values(
                    customer_id=customer, grade=grade, reason=reason, set_at=now, expires_at=expires
                )
            )

    async def end_grade(self, customer: str, now: datetime) -> bool:
        """Ends a grade override; returns False where there is none."""
        async with unit_of_work(self._engine) as work:
            return await self._end(work, customer, now)

    async def announce_absence(
        self, customer: str, begins: datetime, ends: datetime, reason: str, now: datetime
    ) -> None:
        """Stores an absence in place of an earlier one, and makes the customer due."""
        values = {"begins_at": begins, "ends_at": ends, "reason": reason, "announced_at": now}
        async with unit_of_work(self._engine) as work:
            added = insert(absence).values(customer_id=customer, **values)
            await work.connection.execute(
                added.on_conflict_do_update(index_elements=[absence.c.customer_id], set_=values)
            )
            await self._assess_soon(work, customer)

    async def absence(self, customer: str) -> AnnouncedAbsence | None:
        """Reads a customer's newest absence, past or future; None where none was announced."""
        c = absence.c
        query = sa.select(c.begins_at, c.ends_at, c.reason, c.announced_at)
        rows = await select(self._engine, query.where(c.customer_id == customer))
        return AnnouncedAbsence(**rows[0]) if rows else None

    async def end_absence(self, customer: str) -> bool:
        """Deletes an absence; returns False where none was announced."""
        async with unit_of_work(self._engine) as work:
            ended = await work.connection.execute(
                absence.delete().where(absence.c.customer_id == customer)
            )
            await self._assess_soon(work, customer)
        return ended.rowcount > 0

    async def set_grades(self, customer: str) -> list[dict[str, Any]]:
        """Reads the grade overrides of a customer, ended ones included, newest first."""
        t = grade_override
        query = sa.select(t).where(t.c.customer_id == customer).order_by(t.c.id.desc())
        return await select(self._engine, query.limit(VERSIONS_SHOWN_MAX))

    @staticmethod
    async def _end(work: UnitOfWork, customer: str, now: datetime) -> bool:
        t = grade_override
        ended = await work.connection.execute(
            t.update().where(t.c.customer_id == customer, t.c.ended_at.is_(None)).values(
                ended_at=now)
        )  # fmt: skip
        await Decisions._assess_soon(work, customer)
        return ended.rowcount > 0

    @staticmethod
    async def _assess_soon(work: UnitOfWork, customer: str) -> None:
        await work.connection.execute(
            sa.text(
                "UPDATE scoring.timer SET due_at = to_timestamp(:pulled) "
                "WHERE customer_id = :customer AND due_at > to_timestamp(:after_backfill)"
            ),
            {"customer": customer, "pulled": PULLED, "after_backfill": AFTER_BACKFILL},
        )

    @staticmethod
    async def _current(work: UnitOfWork, segment_id: str) -> SegmentDefinition | None:
        t = segment_definition
        query = sa.select(t).where(t.c.id == segment_id).order_by(t.c.version.desc()).limit(1)
        row = (await work.connection.execute(query)).mappings().one_or_none()
        return None if row is None else SegmentDefinition(**row)

    @staticmethod
    async def _in_force(work: UnitOfWork) -> int:
        newest = _newest()
        query = sa.select(sa.func.count()).select_from(newest).where(~newest.c.retired)
        return int((await work.connection.execute(query)).scalar_one())
