"""SQL of identity: groups of ids, and what moves when customers become one or come apart.

All within the caller's transaction, behind its fence. Rows of customers are locked in key order. An
id that is part of another customer has no home (`NO_HOME`): a batch of whichever process that still
believes in it writes no row, which is detected, and reads the redirect.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

import asyncpg
import msgspec

from services.scoring.core.features.state import FEATURE_SET
from services.scoring.core.identity.groups import Groups, Link, Statement
from services.scoring.store.batch_statements import BEGIN
from services.scoring.store.identity_statements import (
    ABSENCES_APART,
    ADOPT_KEYS,
    APART,
    ARM,
    EVERYTHING,
    FREEZE,
    HAND_OVER,
    KEYS_BACK,
    KEYS_OUT,
    OWN_KEYS_BACK,
    PROFILES_APART,
    PUT,
    REPEATED,
    RETIRE,
)
from services.scoring.store.identity_tables import NO_HOME
from shared.contracts.events import Profile
from shared.kernel.errors import Transient
from shared.postgres.engine import UnitOfWork
from shared.postgres.statements import row_count

_PROFILE: Final = msgspec.json.Decoder(Profile)

REPEATS_S: Final = 2.0
"""Longest search of the history for events that two ids have both counted, in seconds: the
partition waits for it. A search that takes longer is given up, and the note states it."""


@dataclass(frozen=True, slots=True)
class Person:
    """What is stored of one id, read under its lock."""

    state: bytes
    own_state: bytes
    """The state of what came with this id alone; `state` where it is in no group."""
    profile: tuple[datetime, str, Profile] | None
    """Time of the change, event id, profile."""


@dataclass(frozen=True, slots=True)
class Repeat:
    """An event that the two sides of a merge have both counted."""

    customer: str
    """The side that becomes part of the other."""
    source: str
    id: str
    recorded_on: date
    origin: str
    """The id that it came with."""


class IdentityTables:
    """Statements on groups of ids, within an open transaction."""

    def __init__(self, work: UnitOfWork) -> None:
        self._driver = work.driver

    async def lock(self) -> None:
        """Waits until no other transaction changes groups, until the commit.

        A merge touches few rows of large tables, always by key, as a batch does."""
        await self._driver.execute(BEGIN)
        await self._driver.execute(EVERYTHING)

    async def fresh(self, statements: Sequence[Statement]) -> list[Statement]:
        """Returns the statements that were not decided on yet, each once."""
        rows = await self._driver.fetch(
            "SELECT s.source, s.id FROM unnest($1::text[], $2::text[]) AS u(source, id) "
            "JOIN scoring.identity_statement s USING (source, id)",
            [s.source for s in statements],
            [s.id for s in statements],
        )
        known = {(row["source"], row["id"]) for row in rows}
        first: dict[tuple[str, str], Statement] = {}
        for one in statements:
            first.setdefault((one.source, one.id), one)
        return [one for key, one in first.items() if key not in known]

    async def groups(self, ids: Collection[str]) -> Groups:
        """Reads the groups of these ids, whole."""
        rows = await self._driver.fetch(
            "SELECT m.customer_id, m.primary_id, m.account FROM scoring.member m "
            "WHERE m.primary_id IN (SELECT primary_id FROM scoring.member "
            "WHERE customer_id = ANY($1::text[]))",
            list(ids),
        )
        groups = Groups(
            {row["customer_id"]: row["primary_id"] for row in rows},
            contacts={row["customer_id"]: row["account"] for row in rows if row["account"]},
        )
        if rows:
            links = await self._driver.fetch(
                "SELECT a, b FROM scoring.identity_link WHERE a = ANY($1::text[])",
                list(groups.primary),
            )
            groups.links = {(row["a"], row["b"]) for row in links}
        return groups

    async def people(self, ids: Iterable[str]) -> dict[str, Person]:
        """Locks and reads the stored ids among these. Raises Transient for an older feature set."""
        rows = await self._driver.fetch(
            "SELECT s.customer_id, s.state, s.feature_set, m.feature_set AS own_set, "
            "coalesce(m.own_state, s.state) AS own_state, p.changed_at, p.event_id, p.profile "
            "FROM scoring.customer_state s LEFT JOIN scoring.member m USING (customer_id) "
            "LEFT JOIN scoring.profile p USING (customer_id) "
            "WHERE s.customer_id = ANY($1::text[]) ORDER BY s.customer_id FOR UPDATE OF s",
            sorted(ids),
        )
        if any({row["feature_set"], row["own_set"]} - {FEATURE_SET, None} for row in rows):
            raise Transient("a state is of another feature set: run `rebuild`")
        return {
            row["customer_id"]: Person(
                row["state"],
                row["own_state"],
                None
                if row["profile"] is None
                else (row["changed_at"], row["event_id"], _PROFILE.decode(row["profile"])),
            )
            for row in rows
        }

    async def add_unseen(self, ids: Collection[str], state: bytes) -> None:
        """Stores ids without any event, so that a batch that meets one of them now is refused.

        Raises Transient where one was stored meanwhile."""
        done = await self._driver.execute(
            "INSERT INTO scoring.customer_state (customer_id, partition, feature_set, state) "
            "SELECT id, $2, $3, $4 FROM unnest($1::text[]) AS u(id) ORDER BY id "
            "ON CONFLICT DO NOTHING",
            sorted(ids),
            NO_HOME,
            FEATURE_SET,
            state,
        )
        if row_count(done) < len(ids):
            raise Transient("a customer was seen for the first time meanwhile")

    async def settle(self, contact: str, account: str, state: bytes, empty: bytes) -> None:
        """Leaves with an account what its contact has done: the contact moves without a past.

        `state`: own state of the account with that of the contact; `empty`: the empty state."""
        await self._driver.execute(
            "UPDATE scoring.member m SET own_state = n.state "
            "FROM (VALUES ($1::text, $3::bytea), ($2, $4)) AS n(customer_id, state) "
            "WHERE m.customer_id = n.customer_id",
            account, contact, state, empty,
        )  # fmt: skip
        await self._driver.execute(
            "UPDATE scoring.event_key SET came_with = NULL WHERE customer_id = $1 "
            "AND came_with = $2",
            account,
            contact,
        )
        for table in ("event_key", "member_key"):
            await self._driver.execute(
                f"DELETE FROM scoring.{table} WHERE customer_id = $1",  # noqa: S608 (our own names)
                contact,
            )

    async def dissolve(self, primaries: Sequence[str], home: int, now: datetime) -> None:
        """Makes each member of these groups a customer of its own again."""
        ids = list(primaries)
        await self._driver.execute(APART, ids, home, now)
        for statement in (ABSENCES_APART, PROFILES_APART, KEYS_BACK, KEYS_OUT, OWN_KEYS_BACK):
            await self._driver.execute(statement, ids)
        rows = await self._driver.fetch(
            "DELETE FROM scoring.member WHERE primary_id = ANY($1::text[]) RETURNING customer_id",
            ids,
        )
        await self._driver.execute(ARM, [row["customer_id"] for row in rows], home)

    async def repeats(self, joining: Mapping[str, str]) -> list[Repeat]:
        """Returns the events that both sides have counted; `joining`: customer -> primary id."""
        rows = await self._driver.fetch(REPEATED, list(joining), list(joining.values()))
        return [Repeat(*row) for row in rows]

    async def repeated_events(self, repeats: Sequence[Repeat]) -> list[bytes]:
        """Reads stored events of the customers and days of these repeats.

        Returns none where the search takes longer than `REPEATS_S`."""
        ids = {one.origin for one in repeats} | {one.customer for one in repeats}
        days = [one.recorded_on for one in repeats]
        limit = await self._driver.fetchval("SELECT current_setting('statement_timeout')")
        set_limit = "SELECT set_config('statement_timeout', $1, true)"
        try:
            async with self._driver.transaction():
                await self._driver.execute(set_limit, f"{REPEATS_S * 1000:.0f}")
                rows = await self._driver.fetch(
                    "SELECT payload FROM scoring.event WHERE customer_id = ANY($1::text[]) "
                    "AND recorded_at >= $2::date AND recorded_at < $3::date",
                    list(ids), min(days), max(days) + timedelta(days=2),
                )  # fmt: skip
        except asyncpg.QueryCanceledError:
            rows = []
        await self._driver.execute(set_limit, limit)
        return [row["payload"] for row in rows]

    async def adopt_keys(self, joining: Mapping[str, str]) -> None:
        """Gives the primary id the keys of the customers who become part of it."""
        await self._driver.execute(ADOPT_KEYS, list(joining), list(joining.values()))

    async def join(
        self,
        members: Mapping[str, str],
        contacts: Mapping[str, str],
        joining: Mapping[str, str],
        now: datetime,
    ) -> None:
        """Makes `members` (id -> primary id) groups; `joining` are customers no more."""
        await self._driver.execute(
            FREEZE, list(members), list(members.values()), [contacts.get(i) for i in members], now
        )
        await self._driver.execute(HAND_OVER, list(joining), list(joining.values()))
        await self._driver.execute(RETIRE, list(joining), now)

    async def put(self, states: Mapping[str, bytes], home: int) -> None:
        """Stores merged states; the customers are assessed as soon as the partition is swept."""
        await self._driver.execute(PUT, list(states), list(states.values()), home, FEATURE_SET)
        await self._driver.execute(ARM, sorted(states), home)

    async def put_profiles(self, profiles: Mapping[str, tuple[datetime, str, Profile]]) -> None:
        """Stores merged profiles."""
        if profiles:
            await self._driver.execute(
                "INSERT INTO scoring.profile (customer_id, changed_at, event_id, profile, owner_id)"
                " SELECT * FROM unnest($1::text[], $2::timestamptz[], $3::text[], $4::bytea[], "
                "$5::text[]) ON CONFLICT (customer_id) DO UPDATE SET "
                "changed_at = excluded.changed_at, event_id = excluded.event_id, "
                "profile = excluded.profile, owner_id = excluded.owner_id",
                list(profiles),
                [at for at, _, _ in profiles.values()],
                [event_id for _, event_id, _ in profiles.values()],
                [msgspec.json.encode(p) for _, _, p in profiles.values()],
                [None if p.owner is None else p.owner.id for _, _, p in profiles.values()],
            )

    async def put_links(self, before: set[Link], after: set[Link]) -> None:
        """Stores the links that came, and deletes those that are no more."""
        for statement, links in (
            ("DELETE FROM scoring.identity_link l USING unnest($1::text[], $2::text[]) AS u(a, b) "
             "WHERE l.a = u.a AND l.b = u.b", before - after),
            ("INSERT INTO scoring.identity_link SELECT * FROM unnest($1::text[], $2::text[]) "
             "ON CONFLICT DO NOTHING", after - before),
        ):  # fmt: skip
            if links:
                await self._driver.execute(statement, [a for a, _ in links], [b for _, b in links])

    async def decide(
        self,
        statements: Sequence[tuple[Statement, datetime]],
        refused: Mapping[tuple[str, str], str],
        note: str | None,
        now: datetime,
    ) -> None:
        """Stores that these statements were decided on; with each its time."""
        await self._driver.execute(
            "INSERT INTO scoring.identity_statement "
            "(source, id, subject, ids, kind, at, refused, note, recorded_at) "
            "SELECT s, i, u, ARRAY(SELECT jsonb_array_elements_text(a::jsonb)), k, t, r, $8, $9 "
            "FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], "
            "$6::timestamptz[], $7::text[]) AS x(s, i, u, a, k, t, r)",
            [s.source for s, _ in statements],
            [s.id for s, _ in statements],
            [s.subject for s, _ in statements],
            [msgspec.json.encode(s.ids).decode() for s, _ in statements],
            [s.identity.kind for s, _ in statements],
            [at for _, at in statements],
            [refused.get((s.source, s.id)) for s, _ in statements],
            note,
            now,
        )
