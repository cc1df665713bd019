"""SQL of classifications within a batch: reads stored rows, writes all changes at once.

Written after the fence, in key order, like the rest of the batch.
"""

from collections.abc import Sequence
from dataclasses import fields
from datetime import datetime
from operator import attrgetter
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from services.scoring.core.features.columns import codes, objects
from services.scoring.core.value.classify import NO_SEGMENTS
from services.scoring.core.value.compare import ClassificationRows
from services.scoring.core.value.grades import GRADES, TIERS
from services.scoring.core.value.lifecycle import BEHAVIOURS, LIFECYCLES
from services.scoring.core.value.rfm import CELLS, digits
from services.scoring.ports import LoadedClassification
from shared.contracts.changes import CustomerChanged
from shared.contracts.events import Profile
from shared.postgres.copy_columns import (
    Numbers,
    Words,
    copy_columns,
    texts,
    timestamps,
)
from shared.postgres.engine import Driver, UnitOfWork
from shared.postgres.fetch_columns import Gathering

# In the order of the requested customers, as they are numbered.
_LOAD = Gathering(
    {
        "at": ("float8", "date_part('epoch', s.at)"),
        "sequence": ("int8", "coalesce(s.sequence, 0)"),
        "lifecycle_since": ("float8", "date_part('epoch', s.lifecycle_since)"),
        "rules_revision": ("int8", "coalesce(s.rules_revision, 0)"),
        "policy_version": ("int8", "coalesce(s.policy_version, 0)"),
        "worth": ("float8", "s.worth"),
        "overridden": ("bool", "coalesce(s.overridden, false)"),
        "override_until": ("float8", "date_part('epoch', o.expires_at)"),
        "away_from": ("float8", "date_part('epoch', a.begins_at)"),
        "away_until": ("float8", "date_part('epoch', a.ends_at)"),
    },
    {
        **{name: f"s.{name}" for name in ("grade", "tier", "behaviour", "lifecycle")},
        # PostgreSQL cannot aggregate arrays of different lengths into one array: JSON instead.
        "segments": "CASE WHEN s.segments <> '{}' THEN to_json(s.segments)::text END",
        "override": "o.grade",
        **{name: f"p.{name}" for name in ("changed_at", "event_id", "profile")},
    },
    """
  FROM unnest($1::text[]) WITH ORDINALITY AS c(customer_id, n)
  LEFT JOIN LATERAL (SELECT at, sequence, grade, tier, behaviour, lifecycle, lifecycle_since,
                            segments, rules_revision, policy_version, worth, overridden
                       FROM scoring.standing s
                      WHERE s.customer_id = c.customer_id LIMIT 1) s ON true
  LEFT JOIN LATERAL (SELECT grade, expires_at FROM scoring.grade_override o
                      WHERE o.customer_id = c.customer_id AND o.ended_at IS NULL LIMIT 1) o ON true
  LEFT JOIN LATERAL (SELECT begins_at, ends_at FROM scoring.absence a
                      WHERE a.customer_id = c.customer_id LIMIT 1) a ON true
  LEFT JOIN LATERAL (SELECT changed_at, event_id, profile FROM scoring.profile p
                      WHERE p.customer_id = c.customer_id LIMIT 1) p ON true
""",
    place="c.n",
)

STAGING = """
CREATE TEMP TABLE IF NOT EXISTS s_standing (customer_id text, partition int, sequence bigint,
    at timestamptz, grade text, tier text, behaviour text, lifecycle text,
    lifecycle_since timestamptz, segments text[], rules_revision bigint, policy_version bigint,
    needs text[], quality text[], rfm text, rfm_cell text, score float8, worth float8,
    lifetime_value float8, lifetime_value_days int, expected_purchases float8,
    alive_probability float8, value_at_risk float8, net_spent float8, profit float8,
    overridden bool)
    ON COMMIT DELETE ROWS;
"""
"""Staging table, created by `BatchStore.open` once per session."""

_COLUMNS: Final = (
    "customer_id",
    *(field.name for field in fields(ClassificationRows) if field.name != "customer"),
)
_FLOATS: Final = (
    "score", "worth", "lifetime_value", "expected_purchases", "alive_probability",
    "value_at_risk", "net_spent", "profit",
)  # fmt: skip
"""Columns in which an undefined number is staged as NaN and stored as NULL."""
_NULLABLE: Final = dict.fromkeys(_FLOATS, "'NaN'") | {"lifetime_value_days": "0"}
_VALUES: Final = ", ".join(
    f"nullif({name}, {_NULLABLE[name]})" if name in _NULLABLE else name for name in _COLUMNS
)

_MERGE = f"""
INSERT INTO scoring.standing ({", ".join(_COLUMNS)})
SELECT {_VALUES} FROM s_standing ORDER BY customer_id
ON CONFLICT (customer_id) DO UPDATE
   SET {", ".join(f"{name} = excluded.{name}" for name in _COLUMNS[1:])}
"""  # noqa: S608 (names of our own columns)

_ENTER = """
INSERT INTO scoring.segment_member (segment_id, customer_id, entered_at)
SELECT s, c, t FROM unnest($1::text[], $2::text[], $3::timestamptz[]) AS u(s, c, t) ORDER BY s, c
ON CONFLICT (segment_id, customer_id) DO NOTHING
"""

_LEAVE = """
DELETE FROM scoring.segment_member m USING unnest($1::text[], $2::text[]) AS u(s, c)
 WHERE m.segment_id = u.s AND m.customer_id = u.c
"""


_CHANGE: Final = (
    "at", "customer_id", "sequence", "kind", "before", "after", "segment", "segment_version",
    "silent",
)  # fmt: skip

_WORDS: Final = {
    # Code `NONE`, -1, indexes the last element.
    name: objects([*(word.encode() for word in words), None])
    for name, words in {
        "grade": GRADES,
        "tier": TIERS,
        "behaviour": BEHAVIOURS,
        "lifecycle": LIFECYCLES,
        "rfm_cell": CELLS,
    }.items()
}
_PROFILE: Final = msgspec.json.Decoder(Profile)
_SEGMENTS: Final = msgspec.json.Decoder(frozenset[str])


def _segments(packed: Sequence[str | None]) -> NDArray[np.object_]:
    if not any(packed):  # the usual case for thousands of customers: none is in a segment
        return np.full(len(packed), NO_SEGMENTS, np.object_)
    # Customers in the same segments share one set.
    sets = {one: NO_SEGMENTS if one is None else _SEGMENTS.decode(one) for one in set(packed)}
    return objects([sets[one] for one in packed])


def _profiles(
    changed_at: Sequence[datetime | None],
    event_id: Sequence[str | None],
    packed: Sequence[bytes | None],
) -> NDArray[np.object_]:
    if not any(packed):
        return np.full(len(packed), None, np.object_)
    return objects(
        [
            None if one is None else (when, name, _PROFILE.decode(one))
            for when, name, one in zip(changed_at, event_id, packed, strict=True)
        ]
    )


class ClassificationTable:
    """Implements `ports.ClassificationStore` on PostgreSQL."""

    async def load(self, work: UnitOfWork, customers: Sequence[str]) -> LoadedClassification:
        """Reads the stored classifications of these customers, in their order."""
        if not customers:
            return LoadedClassification.nothing(0)
        found = await _LOAD.fetch(work.driver, customers)
        words = found.words
        return LoadedClassification(
            **found.numbers,
            grade=codes(words["grade"], GRADES),
            tier=codes(words["tier"], TIERS),
            behaviour=codes(words["behaviour"], BEHAVIOURS),
            lifecycle=codes(words["lifecycle"], LIFECYCLES),
            segments=_segments(words["segments"]),
            override=codes(words["override"], GRADES),
            profile=_profiles(words["changed_at"], words["event_id"], words["profile"]),
        )

    async def write(
        self, work: UnitOfWork, rows: ClassificationRows, changes: Sequence[CustomerChanged]
    ) -> None:
        """Replaces the rows, adds the changes to the history, and updates segment members."""
        driver = work.driver
        if len(rows):
            await copy_columns(driver, "s_standing", *_staged(rows))
            await driver.execute(_MERGE)
        if not changes:
            return
        await driver.copy_records_to_table(
            "standing_change",
            schema_name="scoring",
            columns=_CHANGE,
            records=map(attrgetter(*_CHANGE), changes),
        )
        await _move_members(driver, changes)


def _staged(rows: ClassificationRows) -> tuple[Numbers, Words]:
    """Returns the columns of `s_standing`."""
    numbers: Numbers = {
        "partition": rows.partition.astype(np.int32),
        "at": timestamps(rows.at),
        "lifecycle_since": timestamps(rows.lifecycle_since),
        "lifetime_value_days": rows.lifetime_value_days.astype(np.int32),
        "overridden": rows.overridden,
        **{
            name: getattr(rows, name)
            for name in ("sequence", "rules_revision", "policy_version", *_FLOATS)
        },
    }
    words: dict[str, Sequence[bytes | None]] = {
        "customer_id": [name.encode() for name in rows.customer.tolist()],
        "segments": [texts(tuple(sorted(some))) for some in rows.segments.tolist()],
        "needs": [texts(some) for some in rows.needs.tolist()],
        "quality": [texts(some) for some in rows.quality.tolist()],
        "rfm": [
            None if (text := digits(*scores)) is None else text.encode()
            for scores in rows.rfm.tolist()
        ],
    }
    for name, of in _WORDS.items():
        words[name] = of[getattr(rows, name)].tolist()
    return numbers, words


async def _move_members(driver: Driver, changes: Sequence[CustomerChanged]) -> None:
    """Removes customers that left a segment, and adds those that entered one.

    A batch changes each membership at most once."""
    left = [c for c in changes if c.kind == "segment_left"]
    if left:
        await driver.execute(_LEAVE, [c.segment for c in left], [c.customer_id for c in left])
    entered = [c for c in changes if c.kind == "segment_entered"]
    if entered:
        await driver.execute(
            _ENTER,
            [c.segment for c in entered],
            [c.customer_id for c in entered],
            [c.at for c in entered],
        )
