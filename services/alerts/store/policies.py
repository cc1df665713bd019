"""Stores the policy in its versions, owners' records, and measured save rates."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from services.alerts.core.owner import OwnerRecord
from services.alerts.core.policy_document import (
    Policy,
    difference,
    plain,
    read,
    upgrade,
)
from services.alerts.core.task import TaskInputs
from services.alerts.store import customer_messages as message_store
from shared.contracts.customer_message import SEND
from shared.kernel.errors import Invalid
from shared.postgres.engine import UnitOfWork

CHANGING = 0x6562_6277_706F
"""Advisory lock for storing a version of the policy, so that versions follow one another."""


@dataclass(frozen=True, slots=True)
class Version:
    """A stored version of the policy, with who changed what."""

    version: int
    policy: Policy
    diff: str
    actor: str
    note: str | None
    created_at: datetime


class Policies:
    """Statements on `alerts.policy`, `owner` and `save_rate`; caches the policy."""

    def __init__(self) -> None:
        self._version = 0
        self._policy = Policy()

    async def current(self, work: UnitOfWork) -> tuple[int, Policy]:
        """Return the version and policy in force; version 0, an empty one, if none is stored."""
        newest = await work.driver.fetchval("SELECT max(version) FROM alerts.policy")
        if newest is not None and newest != self._version:
            found = await self.version(work, newest)
            if found is not None:
                self._version, self._policy = found.version, found.policy
        return self._version, self._policy

    async def task_inputs(
        self, work: UnitOfWork, owners: Iterable[str | None], now: datetime
    ) -> TaskInputs:
        """Return the data that new tasks are made from; `now` is the wall clock."""
        version, policy = await self.current(work)
        known = await self.owners(work, owners)
        return TaskInputs(policy, version, now, known, await self.save_rates(work))

    async def owners(self, work: UnitOfWork, ids: Iterable[str | None]) -> dict[str, OwnerRecord]:
        """Return the records of those owners that have one; None is no owner."""
        owner_ids = sorted({each for each in ids if each is not None})
        if not owner_ids:
            return {}
        rows = await work.driver.fetch(
            "SELECT id, name, time_zone, capacity_per_day, manager_id, fallback_id "
            "FROM alerts.owner WHERE id = ANY($1::text[])",
            owner_ids,
        )
        return {row["id"]: msgspec.convert(dict(row), OwnerRecord) for row in rows}

    async def hold_allocation(self, work: UnitOfWork, owners: Sequence[str]) -> None:
        """Lock the allocation of tasks to these owners until the commit.

        The caller gives them sorted, to avoid deadlocks.
        """
        for owner in owners:
            await work.driver.execute(
                "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", f"allocation {owner}"
            )

    async def put_owner(
        self, work: UnitOfWork, record: OwnerRecord, actor: str, now: datetime
    ) -> None:
        """Store an owner's record; it replaces an earlier one."""
        await work.driver.execute(
            """
            INSERT INTO alerts.owner (id, name, time_zone, capacity_per_day, manager_id,
                                      fallback_id, updated_at, updated_by)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
            ON CONFLICT (id) DO UPDATE SET name = excluded.name, time_zone = excluded.time_zone,
              capacity_per_day = excluded.capacity_per_day, manager_id = excluded.manager_id,
              fallback_id = excluded.fallback_id, updated_at = excluded.updated_at,
              updated_by = excluded.updated_by
            """,
            *msgspec.structs.astuple(record),
            now,
            actor,
        )

    async def owners_page(
        self, work: UnitOfWork, after: str | None, most: int
    ) -> list[OwnerRecord]:
        """Return at most `most` owners by id, those after `after`."""
        rows = await work.driver.fetch(
            "SELECT id, name, time_zone, capacity_per_day, manager_id, fallback_id "
            "FROM alerts.owner WHERE id > $1 ORDER BY id LIMIT $2",
            after or "",
            most,
        )
        return [msgspec.convert(dict(row), OwnerRecord) for row in rows]

    async def save_rates(self, work: UnitOfWork) -> Mapping[str, float]:
        """Return the measured save rates by playbook."""
        rows = await work.driver.fetch("SELECT playbook, rate FROM alerts.save_rate")
        return {row["playbook"]: float(row["rate"]) for row in rows}

    async def version(self, work: UnitOfWork, number: int) -> Version | None:
        """Return a stored version; None when there is none of this number."""
        row = await work.driver.fetchrow("SELECT * FROM alerts.policy WHERE version = $1", number)
        return None if row is None else _version(dict(row))

    async def versions(self, work: UnitOfWork, before: int | None, most: int) -> list[Version]:
        """Return at most `most` versions, newest first, those below `before`."""
        rows = await work.driver.fetch(
            "SELECT * FROM alerts.policy WHERE $1::int IS NULL OR version < $1 "
            "ORDER BY version DESC LIMIT $2",
            before,
            most,
        )
        return [_version(dict(row)) for row in rows]

    async def put(
        self,
        work: UnitOfWork,
        policy: Policy,
        actor: str,
        now: datetime,
        *,
        note: str | None = None,
        expected: int | None = None,
    ) -> Version:
        """Store a version and return it; an unchanged document makes no new version.

        `expected` is the version that the change was made from; Invalid when it is not the
        newest any more.
        """
        await work.driver.execute("SELECT pg_advisory_xact_lock($1)", CHANGING)
        newest = await self.versions(work, None, 1)
        number = newest[0].version if newest else 0
        if expected is not None and expected != number:
            raise Invalid("version", f"the newest is {number}: read it and change that one")
        if newest and newest[0].policy == policy:
            return newest[0]
        await self._must_have_providers(work, policy)
        return await self._store(work, newest[0] if newest else None, policy, actor, note, now)

    async def _must_have_providers(self, work: UnitOfWork, policy: Policy) -> None:
        """Raise Invalid, naming the playbook, where it sends by an endpoint that takes none."""
        sending = {p.send.endpoint: p.id for p in policy.playbooks if p.send is not None}
        if not sending:
            return
        for endpoint in sorted(sending.keys() - await message_store.takers(work)):
            raise Invalid(
                f"policy.playbooks.{sending[endpoint]}.send.endpoint",
                f"no webhook {endpoint!r} takes such messages: create it with the route "
                f'{{"event_types": ["{SEND}"]}}',
            )

    async def _store(
        self,
        work: UnitOfWork,
        before: Version | None,
        policy: Policy,
        actor: str,
        note: str | None,
        now: datetime,
    ) -> Version:
        number = before.version if before else 0
        diff = "\n".join(difference(before.policy if before else None, policy))
        made = Version(number + 1, policy, diff, actor, note, now)
        await work.driver.execute(
            "INSERT INTO alerts.policy (version, document, diff, actor, note, created_at) "
            "SELECT $1, r.document, $3, $4, $5, $6 "
            "FROM json_to_record($2::json) AS r(document jsonb)",
            made.version,
            msgspec.json.encode({"document": plain(policy)}).decode(),
            diff,
            actor,
            note,
            now,
        )
        return made

    async def begin_with(self, work: UnitOfWork, policy: Policy, now: datetime) -> None:
        """Store the first version where there is none; its providers may be created later."""
        await work.driver.execute("SELECT pg_advisory_xact_lock($1)", CHANGING)
        if not await self.versions(work, None, 1):
            note = "the policy that alerts begins with"
            await self._store(work, None, policy, "start", note, now)


def _version(row: dict[str, Any]) -> Version:
    return Version(
        version=row["version"],
        policy=read(upgrade(row["document"])),
        diff=row["diff"],
        actor=row["actor"],
        note=row["note"],
        created_at=row["created_at"],
    )
