"""What of a standing is news, what is stored, and what the risk message carries.

What it is for: comparing what is said now with what was said before, customer by customer. Only
customers of whom something changed cost a row or a message. It never publishes.
"""

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from services.scoring.core.value import grades, lifecycle, rfm
from services.scoring.core.value.standing import NO_SEGMENTS, NONE, Before, Standings, Valuation
from shared.contracts.changes import ChangeKind, CustomerChanged
from shared.contracts.risk import Standing

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

MOVED: Final = 0.05
"""A lifetime value is stored again once it moved by a twentieth: no list is read more finely."""
STORED_DAYS_MAX: Final = 7.0
"""And at least weekly, when the customer is looked at."""
_WORDS: Final[tuple[tuple[ChangeKind, str, Sequence[str]], ...]] = (
    ("grade_changed", "grade", grades.GRADES),
    ("tier_changed", "tier", grades.TIERS),
    ("behaviour_changed", "behaviour", lifecycle.BEHAVIOURS),
    ("lifecycle_changed", "lifecycle", lifecycle.LIFECYCLES),
)


@dataclass(frozen=True, slots=True)
class StandingRow:
    """What is stored of one customer's standing."""

    customer: str
    partition: int
    sequence: int
    at: datetime
    grade: str | None
    tier: str | None
    behaviour: str | None
    lifecycle: str | None
    lifecycle_since: datetime
    segments: list[str]
    rules_revision: int
    policy_version: int
    needs: list[str]
    quality: list[str]
    rfm: str | None
    rfm_cell: str | None
    score: float | None
    worth: float | None
    lifetime_value: float | None
    lifetime_value_days: int | None
    expected_purchases: float | None
    alive_probability: float | None
    value_at_risk: float | None
    net_spent: float | None
    profit: float | None
    overridden: bool


Word = TypeVar("Word", bound=str)


def word(words: Sequence[Word], code: int) -> Word | None:
    """The word of a code; None for `NONE`."""
    return None if code == NONE else words[code]


def is_told(change: CustomerChanged) -> bool:
    """Whether a change goes to the topic: all do but a first grade, tier or state."""
    return change.segment is not None or change.before is not None


def defined(value: float) -> float | None:
    """None for NaN."""
    return None if math.isnan(value) else value


@dataclass(frozen=True, slots=True)
class Subject:
    """Of whom a change or a row speaks: the row of the batch, and what numbers it."""

    row: int
    customer: str
    partition: int
    sequence: int
    """Of the last change told before."""
    at: datetime


@dataclass(frozen=True, slots=True)
class _Plain:
    """Columns of `Standings` as lists: row by row, an element of an array costs ten times as much
    to read."""

    grade: list[int]
    tier: list[int]
    behaviour: list[int]
    lifecycle: list[int]
    lifecycle_since: list[float]
    cell: list[int]
    rfm: list[list[int]]
    score: list[float]
    worth: list[float]
    profit: list[float]
    value: list[float]
    alive: list[float]
    purchases: list[float]

    @classmethod
    def of(cls, now: Standings) -> "_Plain":
        life = now.life
        return cls(
            grade=now.grade.tolist(),
            tier=now.tier.tolist(),
            behaviour=now.behaviour.tolist(),
            lifecycle=now.lifecycle.tolist(),
            lifecycle_since=now.lifecycle_since.tolist(),
            cell=now.cell.tolist(),
            rfm=now.rfm.T.tolist(),
            score=now.score.tolist(),
            worth=now.worth.tolist(),
            profit=now.profit.tolist(),
            value=life.value.tolist(),
            alive=life.alive.tolist(),
            purchases=life.purchases.tolist(),
        )


@dataclass(frozen=True, slots=True)
class Comparison:
    """What is said now beside what was said before, of the same n customers."""

    now: Standings
    before: Before
    by: Valuation
    segments: Sequence[frozenset[str]]
    plain: _Plain

    @classmethod
    def of(cls, now: Standings, before: Before, by: Valuation) -> "Comparison":
        """With the ids of the segments of each customer."""
        ids, shared = [item.id for item in by.rules.items], dict[bytes, frozenset[str]]()
        found = [NO_SEGMENTS] * len(now.needs)
        for row in np.flatnonzero(now.members.any(axis=0)).tolist():
            # Customers in the same segments share one set.
            flags = now.members[:, row]
            key = flags.tobytes()
            if key not in shared:
                shared[key] = frozenset(ids[at] for at in np.flatnonzero(flags).tolist())
            found[row] = shared[key]
        return cls(now, before, by, found, _Plain.of(now))

    def to_store(self, worth: Floats, stored_at: Floats, seen: Floats) -> Flags:
        """bool[n]: customers whose row is written.

        `worth`, `stored_at` are those of the stored row (NaN without), `seen` Unix seconds of
        this look.
        """
        now, before = self.now, self.before
        moved = ~(np.abs(now.worth - worth) <= MOVED * np.abs(worth))
        moved &= ~(np.isnan(now.worth) & np.isnan(worth))
        stale = ~(seen - stored_at < STORED_DAYS_MAX * 86_400)
        changed = ~before.known | moved | stale
        changed |= before.rules_revision != self.by.rules.revision
        changed |= before.policy_version != self.by.policy_version
        for _, name, _words in _WORDS:
            changed |= getattr(now, name) != getattr(before, name)
        different = map(operator.ne, self.segments, before.segments)
        return changed | np.fromiter(different, np.bool_, len(changed))

    def changes(self, who: Subject, *, silent: bool) -> list[CustomerChanged]:
        """What changed of one customer, numbered from `who.sequence` + 1.

        `silent`: nothing of it is news (an import, or a standing given for the first time to
        somebody known before). A first grade, tier or state is no change of service either: it is
        history, and `is_told` keeps it from the topic.
        """
        told: list[dict[str, object]] = [
            {"kind": kind, "before": word(words, old), "after": word(words, new),
             "silent": silent or old == NONE}
            for kind, name, words in _WORDS
            if (old := int(getattr(self.before, name)[who.row]))
            != (new := int(getattr(self.now, name)[who.row]))
        ]  # fmt: skip
        told += self._moves(who.row, silent=silent)
        return [
            CustomerChanged(
                customer_id=who.customer,
                sequence=who.sequence + n,
                at=who.at,
                **one,  # type: ignore[arg-type] # the contract's fields, from just above
            )
            for n, one in enumerate(told, 1)
        ]

    def _moves(self, row: int, *, silent: bool) -> list[dict[str, object]]:
        """Segments entered and left."""
        is_in, was_in = self.segments[row], self.before.segments[row]
        if is_in == was_in:
            return []
        rules = {item.id: item for item in self.by.rules.items}
        found: list[dict[str, object]] = []
        for name in sorted(is_in ^ was_in):
            entered, rule = name in is_in, rules.get(name)
            by_definition = (
                rule is not None
                and rule.revision > self.before.rules_revision[row]
                and bool(self.before.known[row])
                and not rule.act_on_existing
            )
            found.append(
                {
                    "kind": "segment_entered" if entered else "segment_left",
                    "segment": name,
                    "segment_version": None if rule is None else rule.version,
                    "action": rule.action if rule is not None and entered else None,
                    "silent": silent or by_definition or rule is None,
                }
            )
        return found

    def message(self, row: int) -> Standing:
        """The standing as the risk message carries it."""
        plain, value = self.plain, defined(self.plain.value[row])
        scores = plain.rfm[row]
        return Standing(
            grade=word(grades.GRADES, plain.grade[row]),
            tier=word(grades.TIERS, plain.tier[row]),
            behaviour=word(lifecycle.BEHAVIOURS, plain.behaviour[row]),
            lifecycle=word(lifecycle.LIFECYCLES, plain.lifecycle[row]),
            needs=list(self.now.needs[row]),
            segments=sorted(self.segments[row]),
            lifetime_value=value,
            lifetime_value_days=None if value is None else self.by.policy.horizon_days,
            alive_probability=defined(plain.alive[row]),
            expected_purchases=defined(plain.purchases[row]),
            profit=defined(plain.profit[row]),
            rfm="".join(map(str, scores)) if all(scores) else None,
            rfm_cell=word(rfm.CELLS, plain.cell[row]),
            quality=list(self.now.quality[row]),
        )

    def stored(
        self, who: Subject, sequence: int, value_at_risk: float, net_spent: float
    ) -> StandingRow:
        """The row of one customer; `sequence` of its last change."""
        told = self.message(who.row)
        return StandingRow(
            customer=who.customer,
            partition=who.partition,
            sequence=sequence,
            at=who.at,
            grade=told.grade,
            tier=told.tier,
            behaviour=told.behaviour,
            lifecycle=told.lifecycle,
            lifecycle_since=datetime.fromtimestamp(self.plain.lifecycle_since[who.row], UTC),
            segments=told.segments,
            rules_revision=self.by.rules.revision,
            policy_version=self.by.policy_version,
            needs=told.needs,
            quality=told.quality,
            rfm=told.rfm,
            rfm_cell=told.rfm_cell,
            score=defined(self.plain.score[who.row]),
            worth=defined(self.plain.worth[who.row]),
            lifetime_value=told.lifetime_value,
            lifetime_value_days=told.lifetime_value_days,
            expected_purchases=told.expected_purchases,
            alive_probability=told.alive_probability,
            value_at_risk=defined(value_at_risk),
            net_spent=defined(net_spent),
            profit=told.profit,
            overridden=int(self.before.override[who.row]) != NONE,
        )
