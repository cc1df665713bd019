"""Reads what is in force: the newest policy, base and segment definitions, if any changed."""

from dataclasses import dataclass

from shared.postgres.engine import unit_of_work
from shared.postgres.statements import Statements

Versions = tuple[int, int, int]
"""(policy, base, definitions): each grows with every change; 0 where there is none."""

_VERSIONS = """
SELECT (SELECT coalesce(max(version), 0) FROM scoring.value_policy),
       (SELECT coalesce(max(version), 0) FROM scoring.value_base),
       (SELECT coalesce(max(revision), 0) FROM scoring.segment_definition)
"""


@dataclass(frozen=True, slots=True)
class SegmentRow:
    """Segment in force, as stored."""

    id: str
    version: int
    revision: int
    expression: str
    action: str | None
    act_on_existing: bool


@dataclass(frozen=True, slots=True)
class InForce:
    """Policy, base and segments in force, as stored."""

    versions: Versions
    policy: str | None
    base: str | None
    segments: list[SegmentRow]


class ValueSettings(Statements):
    """Implements `handlers.value_policy_cache.ValuationSource` on PostgreSQL."""

    async def in_force(self, known: Versions | None) -> InForce | None:
        """Reads what is in force; returns None where its versions are `known`.

        Versions are read first: a change in between is read now, and again at the next poll.
        """
        async with unit_of_work(self._engine) as work:
            row = await work.driver.fetchrow(_VERSIONS)
            assert row is not None  # noqa: S101 (a row of constants)
            versions = (int(row[0]), int(row[1]), int(row[2]))
            if versions == known:
                return None
            policy = await work.driver.fetchval(
                "SELECT policy FROM scoring.value_policy ORDER BY version DESC LIMIT 1"
            )
            base = await work.driver.fetchval(
                "SELECT base FROM scoring.value_base ORDER BY version DESC LIMIT 1"
            )
            segments = await work.driver.fetch(
                "SELECT id, version, revision, expression, action, act_on_existing FROM "
                "(SELECT DISTINCT ON (id) * FROM scoring.segment_definition "
                " ORDER BY id, version DESC) d WHERE NOT retired ORDER BY id"
            )
        return InForce(versions, policy, base, [SegmentRow(*tuple(s)) for s in segments])
