"""The audit: who changed what, when, from where and for whom; one append-only table per service.

An entry is written before its change, with what is there before it, and completed after it, with
what is there then, so that a change which ended the process is found too: its outcome stays open.
Both are read by themselves: what another change did in between is in its own entry. PostgreSQL
refuses to change or delete an entry within `KEPT_DAYS_MIN`. A customer is not named but marked, by
the keyed hash that erasures use.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncEngine

from shared.kernel.left_out import without_secrets
from shared.kernel.text import unkeepable
from shared.postgres.engine import UnitOfWork, unit_of_work
from shared.postgres.erasures import Erasures
from shared.postgres.statements import execute, row_count
from shared.runtime.clock import Clock
from shared.runtime.loop import repeat
from shared.runtime.service import Stop

KEPT_DAYS_MIN: Final = 365
"""Days for which PostgreSQL refuses to delete an entry, whatever the retention is set to."""

EVERY_S: Final = 3_600.0
"""Seconds between two deletions: retention is counted in days."""

FORGET_MAX: Final = 1_000
"""Entries deleted in one transaction once they are older than the retention."""

STATE_BYTES_MAX: Final = 64 * 1024
"""Bytes kept of what is there before or after a change: a policy has some 5 KB."""

_GUARD: Final = """
CREATE OR REPLACE FUNCTION {schema}.guard_audit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'DELETE' AND OLD.at < now() - make_interval(days => {days}) THEN
    RETURN OLD;
  END IF;
  IF TG_OP = 'UPDATE' AND OLD.outcome IS NULL AND NEW.outcome IS NOT NULL
     AND (NEW.id, NEW.at, NEW.actor, NEW.origin, NEW.action, NEW.target)
         IS NOT DISTINCT FROM (OLD.id, OLD.at, OLD.actor, OLD.origin, OLD.action, OLD.target)
     AND (NEW.customer_mark, NEW.sent, NEW.on_behalf_of, NEW.before)
         IS NOT DISTINCT FROM (OLD.customer_mark, OLD.sent, OLD.on_behalf_of, OLD.before) THEN
    RETURN NEW;
  END IF;
  RAISE EXCEPTION 'the audit is append-only';
END $$
"""


def audit_table(metadata: sa.MetaData) -> sa.Table:
    """Builds the table in a service's schema."""
    return sa.Table("audit", metadata, *_columns(), *_columns_of_states())


def upgrade(schema: str) -> None:
    """Create the table and its guard, in a migration."""
    op.create_table("audit", *_columns(), schema=schema)
    op.execute(_GUARD.format(schema=schema, days=KEPT_DAYS_MIN))
    op.execute(
        f"CREATE TRIGGER guard_audit BEFORE UPDATE OR DELETE ON {schema}.audit "
        f"FOR EACH ROW EXECUTE FUNCTION {schema}.guard_audit()"
    )
    op.execute(
        f"CREATE TRIGGER guard_audit_whole BEFORE TRUNCATE ON {schema}.audit "
        f"FOR EACH STATEMENT EXECUTE FUNCTION {schema}.guard_audit()"
    )


def upgrade_states(schema: str) -> None:
    """Add for whom a change is made, and what is there before and after it, in a migration."""
    for column in _columns_of_states():
        op.add_column("audit", column, schema=schema)
    op.execute(_GUARD.format(schema=schema, days=KEPT_DAYS_MIN))


def _columns_of_states() -> list[sa.Column[Any]]:
    return [
        sa.Column("on_behalf_of", sa.Text),
        sa.Column("before", postgresql.JSONB),
        sa.Column("after", postgresql.JSONB),
    ]


def _columns() -> list[sa.schema.SchemaItem]:
    time = sa.DateTime(timezone=True)
    return [
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("at", time, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("origin", sa.Text, nullable=False),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("target", postgresql.JSONB, nullable=False),
        sa.Column("customer_mark", sa.LargeBinary),
        sa.Column("sent", postgresql.JSONB),
        sa.Column("outcome", sa.Text),
        sa.Column("ended_at", time),
        sa.Index("ix_audit_at", "at"),
        sa.Index("ix_audit_customer", "customer_mark"),
    ]


@dataclass(frozen=True, slots=True)
class State:
    """What a change concerns: rows, read before it and after it."""

    query: str
    """Chosen columns of them, without a person's name or words; `$1`: the key, a text."""
    keys: tuple[str, ...] = ()
    """Names of a value of the path, a field of the content or an argument of the command: the
    first that is given is the key. None: the query has no key."""
    later: bool = False
    """The change takes effect after the request or command: `after` is not read."""

    def key(self, *given: Mapping[str, Any]) -> str | None:
        """Return the key among given values; None where there is none that can be looked for."""
        values = (each[name] for each in given for name in self.keys if each.get(name) is not None)
        found = next(values, None)
        if isinstance(found, list):
            found = found[0] if found else None
        text = None if found is None else str(found)
        return None if text is None or unkeepable(text) is not None else text


def partition_state(schema: str) -> State:
    """Returns what a command about the partitions of one number concerns, of a service."""
    return State(
        f"SELECT topic, partition, next_offset, status, epoch FROM {schema}.partition "  # noqa: S608 (our own names)
        "WHERE partition::text = $1 ORDER BY topic",
        ("partition",),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A change that is about to be made."""

    actor: str
    """A token's name, or the operating system's user of a command."""
    origin: str
    """The client's address, or the machine on which a command runs."""
    action: str
    """`PUT /v1/policy` or `segments retire`."""
    target: Mapping[str, Any]
    """What is changed: values of the path, or the command's arguments. No customer."""
    customer_id: str | None = None
    """The customer that it concerns; stored as a mark."""
    sent: Any = None
    """The content as sent; None where it may be about a person."""
    on_behalf_of: str | None = None
    """The person for whom the token acts."""
    state: State | None = None
    key: str | None = None
    """Of the state; not stored, since it may be a customer."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of the audit. Times are UTC."""

    id: int
    at: datetime
    actor: str
    origin: str
    action: str
    target: dict[str, Any]
    sent: Any
    outcome: str | None
    """Status of the answer or of the exit; None: it did not come to an end."""
    ended_at: datetime | None
    on_behalf_of: str | None
    before: Any
    """What was there before: a row, rows, or None for none."""
    after: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A filter of entries; None: any."""

    actor: str | None = None
    """Who did it, or for whom."""
    action: str | None = None
    """A part of it."""
    customer_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    before_id: int | None = None
    """Only older entries than this one."""


_FIND = """
SELECT id, at, actor, origin, action, target::text AS target, sent::text AS sent, outcome, ended_at,
       on_behalf_of, before::text AS before, after::text AS after
  FROM {schema}.audit
 WHERE ($1::text IS NULL OR actor = $1 OR on_behalf_of = $1)
   AND ($2::text IS NULL OR position($2 IN action) > 0)
   AND ($3::bytea IS NULL OR customer_mark = $3)
   AND ($4::timestamptz IS NULL OR at >= $4) AND ($5::timestamptz IS NULL OR at < $5)
   AND ($6::bigint IS NULL OR id < $6)
 ORDER BY id DESC LIMIT $7
"""


class Audit:
    """Statements on one schema's table. Each raises Transient while PostgreSQL is unreachable."""

    def __init__(self, engine: AsyncEngine, schema: str) -> None:
        self._engine = engine
        self._schema = schema
        self._erasures = Erasures(schema)

    async def begin(self, change: Change, at: datetime) -> int:
        """Store that a change is about to be made; return the entry's number."""
        async with unit_of_work(self._engine) as work:
            mark = None
            if change.customer_id is not None:
                mark = await self._erasures.mark(work, change.customer_id)
            found: int = await work.driver.fetchval(
                f"INSERT INTO {self._schema}.audit "  # noqa: S608 (a name of ours)
                "(at, actor, origin, action, target, customer_mark, sent, on_behalf_of, before) "
                "VALUES ($1, $2, $3, $4, $5::text::jsonb, $6, $7::text::jsonb, $8, "
                "$9::text::jsonb) RETURNING id",
                at,
                change.actor,
                change.origin,
                change.action,
                _kept(change, change.target),
                mark,
                _kept(change, change.sent),
                change.on_behalf_of,
                _kept(change, await _read(work, change)),
            )
        return found

    async def end(self, entry: int, change: Change, outcome: str, at: datetime) -> None:
        """Store how the change ended, and what is there now."""
        async with unit_of_work(self._engine) as work:
            later = change.state is not None and change.state.later
            after = None if later else await _read(work, change)
            await work.driver.execute(
                f"UPDATE {self._schema}.audit SET outcome = $2, ended_at = $3, "  # noqa: S608
                "after = $4::text::jsonb WHERE id = $1",
                entry,
                outcome,
                at,
                _kept(change, after),
            )

    async def find(self, wanted: Wanted, limit: int) -> list[Entry]:
        """Return the newest matching entries, newest first."""
        async with unit_of_work(self._engine) as work:
            mark = None
            if wanted.customer_id is not None:
                mark = await self._erasures.mark(work, wanted.customer_id)
            rows = await work.driver.fetch(
                _FIND.format(schema=self._schema),
                wanted.actor,
                wanted.action,
                mark,
                wanted.since,
                wanted.until,
                wanted.before_id,
                limit,
            )
        return [_entry(row) for row in rows]

    async def forget(self, before: datetime) -> int:
        """Delete up to `FORGET_MAX` entries that are older; return their number."""
        status = await execute(
            self._engine,
            f"DELETE FROM {self._schema}.audit WHERE id IN (SELECT id "  # noqa: S608
            f"FROM {self._schema}.audit WHERE at < $1 ORDER BY id LIMIT $2)",
            before,
            FORGET_MAX,
        )
        return row_count(status)


@dataclass(frozen=True, slots=True)
class AuditRetention:
    """The loop that deletes entries after a number of days, at least `KEPT_DAYS_MIN`."""

    audit: Audit
    clock: Clock
    days: int

    async def __call__(self, stop: Stop) -> None:
        """Run until `stop`."""
        await repeat(self.once, stop, "audit", EVERY_S)

    async def once(self) -> None:
        """Delete some of the entries that are too old."""
        await self.audit.forget(self.clock.now() - timedelta(days=max(self.days, KEPT_DAYS_MIN)))


def _entry(row: Any) -> Entry:
    fields = dict(row)
    for name in ("target", "sent", "before", "after"):
        fields[name] = None if fields[name] is None else msgspec.json.decode(fields[name])
    return Entry(**fields)


async def _read(work: UnitOfWork, change: Change) -> Any:
    """Return what is there of a change's state: a row, rows, or None for none."""
    state = change.state
    if state is None or (state.keys and change.key is None):
        return None
    rows = await work.driver.fetch(
        f"SELECT to_jsonb(state)::text AS row FROM ({state.query}) state",  # noqa: S608 (ours)
        *([change.key] if state.keys else []),
    )
    found = [msgspec.json.decode(row["row"]) for row in rows]
    return found[0] if len(found) == 1 else found or None


def _kept(change: Change, value: Any) -> str | None:
    """Return what an entry keeps of a value, as JSON."""
    if value is None:
        return None
    about_customer = change.customer_id is not None
    said = without_secrets(value, about_customer=about_customer)
    text = msgspec.json.encode(said, enc_hook=str)
    return f'"({len(text):,} bytes)"' if len(text) > STATE_BYTES_MAX else text.decode()
