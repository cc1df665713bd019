"""Keeps in memory what is in force: thresholds, the measured base, the user's segments.

A change replaces one reference between two batches, so no batch sees half of it and nothing is
redeployed.
"""

from collections.abc import Sequence
from typing import Final, Protocol

import msgspec
import structlog

from services.scoring.core.risk.lapse import LapseClock
from services.scoring.core.segments.rules import SegmentRule, SegmentRules, rule
from services.scoring.core.value import policy as policies
from services.scoring.core.value.base import Base
from services.scoring.core.value.classify import Valuation
from services.scoring.store.value_settings import InForce, SegmentRow
from shared.kernel.errors import Invalid
from shared.runtime.isolation import ItemIsolation
from shared.runtime.loop import repeat
from shared.runtime.service import Stop

log = structlog.get_logger(__name__)

KIND: Final = "segment"
"""Kind of isolated items: versions of segments."""

SET_ASIDE: Final = "fails or ends processes where it is tried: see the command `aside list`"

Versions = tuple[int, int, int]


class ValuationSource(Protocol):
    """Reads what is in force; returns None where nothing changed."""

    async def in_force(self, known: Versions | None) -> InForce | None: ...


class ValuePolicyCache:
    """Valuation in force in this process."""

    def __init__(
        self, source: ValuationSource, poll_s: float, clock: LapseClock, isolation: ItemIsolation
    ) -> None:
        self._source = source
        self._poll_s = poll_s
        self._versions: Versions | None = None
        self._clock = clock
        self._isolation = isolation
        self._left: set[str] = set()
        """Versions of segments that `isolation` did not let through."""
        self._valuation = Valuation(clock=clock)
        self._refused: dict[str, str] = {}

    def current(self) -> Valuation:
        """Returns the valuation to use now."""
        return self._valuation

    @property
    def unusable(self) -> dict[str, str]:
        """Segments in force that are not run, with the reason.

        Either this version does not know a name that they use, or they failed on a customer."""
        return self._refused | self._valuation.rules.failed

    @property
    def checked(self) -> bool:
        """Whether the tables have been read at least once."""
        return self._versions is not None

    async def refresh(self) -> None:
        """Reads the tables if anything changed, and replaces the valuation."""
        await self._isolation.read()
        stored = await self._source.in_force(None if self._again else self._versions)
        if stored is None:
            return
        policy_version, base_version, revision = stored.versions
        policy = policies.stored(stored.policy) if stored.policy else policies.ValuePolicy()
        base = msgspec.json.decode(stored.base, type=Base) if stored.base else None
        rules = SegmentRules(revision, tuple(await self._rules(stored.segments)))
        self._valuation = Valuation(policy, policy_version, base, rules, self._clock)
        self._versions = stored.versions
        log.info("valuation in force", policy=policy_version, base=base_version, segments=revision)

    @property
    def _again(self) -> bool:
        """Whether to try a left-out segment again: it was released, or is not yet set aside."""
        aside = {*self._isolation.avoided(KIND)} - {*self._isolation.waiting(KIND)}
        return not self._left <= aside

    async def _rules(self, segments: Sequence[SegmentRow]) -> list[SegmentRule]:
        """Compiles and tries the segments.

        A segment that cannot run any more, or that ends processes, is left out and reported."""
        versions = {f"{one.id} v{one.version}": one for one in segments}
        found: dict[str, SegmentRule] = {}
        refused = {one.id: SET_ASIDE for one in segments}

        async def compile_each(items: Sequence[str]) -> None:
            for one in map(versions.__getitem__, items):
                try:
                    found[one.id] = rule(
                        one.id, one.version, one.revision, one.expression,
                        action=one.action, act_on_existing=one.act_on_existing,
                    )  # fmt: skip
                except Invalid as error:
                    refused[one.id] = error.reason
                    log.warning("segment is disabled: it cannot be run", segment=one.id,
                                why=str(error))  # fmt: skip

        await self._isolation.each(KIND, versions, compile_each)
        self._left = {item for item, one in versions.items() if refused[one.id] == SET_ASIDE}
        self._left -= {item for item, one in versions.items() if one.id in found}
        self._refused = {name: why for name, why in refused.items() if name not in found}
        return [found[one.id] for one in segments if one.id in found]

    async def watch(self, stop: Stop) -> None:
        """Refreshes until stopped; keeps the valuation in use while PostgreSQL is unreachable."""
        await repeat(self.refresh, stop, "valuation", self._poll_s)
