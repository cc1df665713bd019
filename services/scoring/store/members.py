"""SQL of a batch about customers with several ids: redirects, own states, own profiles."""

from collections.abc import Collection
from datetime import date
from typing import Final

import msgspec

from services.scoring.core.features.state import FEATURE_SET
from services.scoring.ports import BatchEffects, EventRows
from shared.contracts.events import Profile
from shared.contracts.profiles import Dated, merged
from shared.kernel.errors import Transient
from shared.postgres.engine import Driver
from shared.postgres.statements import row_count

_PROFILE: Final = msgspec.json.Decoder(Profile)

_OWN_PROFILE: Final = """
WITH u AS (
  SELECT * FROM unnest($1::text[], $2::timestamptz[], $3::text[], $4::bytea[])
         AS u(customer_id, changed_at, event_id, profile)
), newest AS (
  SELECT DISTINCT ON (customer_id) * FROM u ORDER BY customer_id, changed_at DESC, event_id DESC
)
UPDATE scoring.member m
   SET frozen = jsonb_set(m.frozen, '{profile}', to_jsonb(n))
  FROM newest n
 WHERE m.customer_id = n.customer_id
   AND (NOT m.frozen ? 'profile'
        OR ((m.frozen #>> '{profile,changed_at}')::timestamptz, m.frozen #>> '{profile,event_id}')
           < (n.changed_at, n.event_id))
"""

_OWN_KEYS: Final = """
SELECT u.n::int - 1 AS n, coalesce(k.content_hash, o.content_hash, r.content_hash) AS content_hash
  FROM unnest($1::text[], $2::text[], $3::text[], $4::text[])
       WITH ORDINALITY AS u(customer, came_with, source, id, n)
  JOIN scoring.member m ON m.customer_id = u.came_with AND m.primary_id = u.customer
  LEFT JOIN scoring.event_key k
    ON k.customer_id = u.customer AND k.source = u.source AND k.id = u.id
   AND coalesce(k.came_with, k.customer_id) = u.came_with
  LEFT JOIN scoring.event_key o
    ON o.customer_id = u.came_with AND o.source = u.source AND o.id = u.id AND o.came_with IS NULL
  LEFT JOIN scoring.member_key r
    ON r.customer_id = u.came_with AND r.source = u.source AND r.id = u.id
"""

_PROFILES: Final = """
SELECT m.primary_id, r.changed_at, r.event_id, r.profile
  FROM scoring.member m, jsonb_populate_record(NULL::scoring.profile, m.frozen -> 'profile') r
 WHERE m.primary_id = ANY($1::text[]) AND m.frozen ? 'profile' AND m.account IS NULL
"""


async def redirects(driver: Driver, ids: Collection[str]) -> dict[str, str]:
    """Returns the primary ids of those that are part of another customer."""
    rows = await driver.fetch(
        "SELECT customer_id, primary_id FROM scoring.member "
        "WHERE customer_id = ANY($1::text[]) AND primary_id <> customer_id",
        list(ids),
    )
    return {row["customer_id"]: row["primary_id"] for row in rows}


async def own_states(driver: Driver, ids: Collection[str]) -> dict[str, bytes]:
    """Reads the states of what came with each of these ids alone."""
    rows = await driver.fetch(
        "SELECT customer_id, own_state FROM scoring.member "
        "WHERE customer_id = ANY($1::text[]) AND feature_set = $2",
        list(ids),
        FEATURE_SET,
    )
    return {row["customer_id"]: row["own_state"] for row in rows}


async def note_origins(driver: Driver, events: EventRows) -> None:
    """Stores with the keys of forwarded events the id that they came with."""
    pairs = zip(events.customer, events.original_customer, strict=True)
    rows = [i for i, (customer, original) in enumerate(pairs) if customer != original]
    if rows:
        await driver.execute(
            "UPDATE scoring.event_key k SET came_with = u.o "
            "FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) AS u(c, s, i, o) "
            "WHERE k.customer_id = u.c AND k.source = u.s AND k.id = u.i",
            [events.customer[i] for i in rows],
            [events.source[i] for i in rows],
            [events.id[i] for i in rows],
            [events.original_customer[i] for i in rows],
        )


async def own_keys(driver: Driver, events: EventRows) -> dict[int, bytes | None]:
    """Returns, of customers with several ids, the content that the id of each event sent itself.

    By index of the event: the content hash under the event's id; None where only another id of the
    customer has sent it so far. Events of other customers are left out."""
    rows = await driver.fetch(
        _OWN_KEYS, events.customer, events.original_customer, events.source, events.id
    )
    return {row["n"]: row["content_hash"] for row in rows}


async def note_repeated(driver: Driver, events: EventRows, on: date) -> None:
    """Stores the keys of events that count for the id that they came with only; `on`: today."""
    await driver.execute(
        "INSERT INTO scoring.member_key (customer_id, source, id, content_hash, recorded_on) "
        "SELECT u.*, $5 FROM unnest($1::text[], $2::text[], $3::text[], $4::bytea[]) AS u "
        "ON CONFLICT DO NOTHING",
        events.original_customer,
        events.source,
        events.id,
        events.content_hash,
        on,
    )


async def write(driver: Driver, effects: BatchEffects) -> None:
    """Stores own states, and profiles by the id that they came with.

    Raises Transient where a group has changed meanwhile.
    """
    done = await driver.execute(
        "UPDATE scoring.member m SET own_state = n.state "
        "FROM unnest($1::text[], $2::bytea[]) AS n(customer_id, state) "
        "WHERE m.customer_id = n.customer_id",
        list(effects.own_states),
        list(effects.own_states.values()),
    )
    if row_count(done) < len(effects.own_states):
        raise Transient("the ids of a customer have changed meanwhile")
    if len(effects.repeated):
        await note_repeated(driver, effects.repeated, effects.recorded_at.date())
    for events in (effects.events, effects.repeated):
        await _write_profiles(driver, events, effects.own_states)


async def _write_profiles(driver: Driver, events: EventRows, own: Collection[str]) -> None:
    rows = [
        (at, profile)
        for at, profile in enumerate(events.profile)
        if profile is not None and events.original_customer[at] in own
    ]
    if rows:
        await driver.execute(
            _OWN_PROFILE,
            [events.original_customer[at] for at, _ in rows],
            [events.time[at] for at, _ in rows],
            [f"{events.source[at]}\n{events.id[at]}" for at, _ in rows],
            [msgspec.json.encode(profile) for _, profile in rows],
        )
        await _merge_profiles(driver, {events.customer[at] for at, _ in rows})


async def _merge_profiles(driver: Driver, primaries: Collection[str]) -> None:
    """Makes the profile of each of these customers anew from those of its ids."""
    found: dict[str, list[Dated]] = {}
    for primary, at, event_id, packed in await driver.fetch(_PROFILES, list(primaries)):
        found.setdefault(primary, []).append((at, event_id, _PROFILE.decode(packed)))
    made = {primary: merged(profiles)[2] for primary, profiles in found.items()}
    await driver.execute(
        "UPDATE scoring.profile p SET profile = n.profile, owner_id = n.owner_id "
        "FROM unnest($1::text[], $2::bytea[], $3::text[]) AS n(customer_id, profile, owner_id) "
        "WHERE p.customer_id = n.customer_id",
        list(made),
        [msgspec.json.encode(profile) for profile in made.values()],
        [None if profile.owner is None else profile.owner.id for profile in made.values()],
    )
