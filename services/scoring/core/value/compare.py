"""Compares classifications with the previous ones: changes, stored rows and the risk message.

Only customers with a change cost a row or a message. This module never publishes.
"""

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from services.scoring.core.features.columns import objects
from services.scoring.core.features.times import whole_us
from services.scoring.core.value import grades, lifecycle, rfm
from services.scoring.core.value.classify import (
    NO_SEGMENTS,
    NONE,
    Before,
    ClassificationColumns,
    Classifications,
    Valuation,
)
from shared.contracts.changes import ChangeKind, CustomerChanged
from shared.contracts.risk import Classification
from shared.kernel.arrays import Codes, Flags, Floats, Ints

MOVED: Final = 0.05
"""A lifetime value is stored again once it moved by a twentieth: no list needs finer steps."""
STORED_DAYS_MAX: Final = 7.0
"""It is also stored at least weekly, when the customer is assessed."""
_WORDS: Final[tuple[tuple[ChangeKind, str, Sequence[str]], ...]] = (
    ("grade_changed", "grade", grades.GRADES),
    ("tier_changed", "tier", grades.TIERS),
    ("behaviour_changed", "behaviour", lifecycle.BEHAVIOURS),
    ("lifecycle_changed", "lifecycle", lifecycle.LIFECYCLES),
)


@dataclass(slots=True)
class ClassificationRows(ClassificationColumns):
    """Whole stored rows; NaN is a number that the data do not support."""

    customer: NDArray[np.object_]
    partition: Ints
    needs: NDArray[np.object_]
    """tuple[str, ...], as `quality`."""
    quality: NDArray[np.object_]
    rfm: Codes
    """int8[n, 3]; 0 = unscored."""
    rfm_cell: Codes
    score: Floats
    lifetime_value: Floats
    lifetime_value_days: Ints
    """0 without a value."""
    expected_purchases: Floats
    alive_probability: Floats
    value_at_risk: Floats
    net_spent: Floats
    profit: Floats


Word = TypeVar("Word", bound=str)


def word(words: Sequence[Word], code: int) -> Word | None:
    """Return the word of a code; None for `NONE`."""
    return None if code == NONE else words[code]


def is_published(change: CustomerChanged) -> bool:
    """Return whether a change goes to the topic: all but a first grade, tier or state do."""
    return change.segment is not None or change.before is not None


def defined(value: float) -> float | None:
    """Return the value, or None for NaN."""
    return None if math.isnan(value) else value


@dataclass(frozen=True, slots=True)
class ChangeSubject:
    """The customer of a change: the row of the batch, and the base of the change's number."""

    row: int
    customer: str
    sequence: int
    """Number of the last change published before."""
    at: datetime


@dataclass(frozen=True, slots=True)
class Written:
    """The columns of a classification's row that `assess` does not return."""

    customers: Sequence[str]
    partition: Ints
    sequence: Ints
    """Number of the last published change."""
    at: Floats
    """Unix seconds UTC."""
    value_at_risk: Floats
    net_spent: Floats


@dataclass(frozen=True, slots=True)
class _Plain:
    """Columns of `Classifications` as lists: reading single elements of an array costs ten times
    as much."""

    grade: list[int]
    tier: list[int]
    behaviour: list[int]
    lifecycle: list[int]
    cell: list[int]
    rfm: list[list[int]]
    profit: list[float]
    value: list[float]
    alive: list[float]
    purchases: list[float]

    @classmethod
    def of(cls, now: Classifications) -> "_Plain":
        life = now.life
        return cls(
            grade=now.grade.tolist(),
            tier=now.tier.tolist(),
            behaviour=now.behaviour.tolist(),
            lifecycle=now.lifecycle.tolist(),
            cell=now.cell.tolist(),
            rfm=now.rfm.T.tolist(),
            profit=now.profit.tolist(),
            value=life.value.tolist(),
            alive=life.alive.tolist(),
            purchases=life.purchases.tolist(),
        )


@dataclass(frozen=True, slots=True)
class ClassificationComparison:
    """The classifications now and before of the same n customers."""

    now: Classifications
    before: Before
    by: Valuation
    segments: Sequence[frozenset[str]]
    changed: Flags
    """bool[n]: a word or a segment of the customer differs from before."""
    plain: _Plain

    @classmethod
    def of(cls, now: Classifications, before: Before, by: Valuation) -> "ClassificationComparison":
        """Compare; the ids of each customer's segments are computed here."""
        ids, shared = [item.id for item in by.rules.items], dict[bytes, frozenset[str]]()
        found = [NO_SEGMENTS] * len(now.needs)
        for row in np.flatnonzero(now.members.any(axis=0)).tolist():
            # Customers in the same segments share one set.
            flags = now.members[:, row]
            key = flags.tobytes()
            if key not in shared:
                shared[key] = frozenset(ids[at] for at in np.flatnonzero(flags).tolist())
            found[row] = shared[key]
        different = map(operator.ne, found, before.segments.tolist())
        changed = np.fromiter(different, np.bool_, len(found))
        for _, name, _words in _WORDS:
            changed |= getattr(now, name) != getattr(before, name)
        return cls(now, before, by, found, changed, _Plain.of(now))

    def to_store(self, seen: Floats) -> Flags:
        """bool[n]: the customer's row is written; `seen`: time of this assessment, Unix seconds."""
        now, before = self.now, self.before
        moved = ~(np.abs(now.worth - before.worth) <= MOVED * np.abs(before.worth))
        moved &= ~(np.isnan(now.worth) & np.isnan(before.worth))
        stale = ~(seen - before.at < STORED_DAYS_MAX * 86_400)
        stored = self.changed | ~before.known | moved | stale
        stored |= before.rules_revision != self.by.rules.revision
        stored |= before.policy_version != self.by.policy_version
        return stored

    def changes(self, who: ChangeSubject, *, silent: bool) -> list[CustomerChanged]:
        """Return the changes of one customer, numbered from `who.sequence` + 1.

        `silent`: no change calls for action (an import, or a first classification of a customer
        who was known before). A first grade, tier or state does not change the service either: it
        is history, and `is_published` keeps it from the topic.
        """
        changes: list[dict[str, object]] = [
            {"kind": kind, "before": word(words, old), "after": word(words, new),
             "silent": silent or old == NONE}
            for kind, name, words in _WORDS
            if (old := int(getattr(self.before, name)[who.row]))
            != (new := int(getattr(self.now, name)[who.row]))
        ]  # fmt: skip
        changes += self._moves(who.row, silent=silent)
        return [
            CustomerChanged(
                customer_id=who.customer,
                sequence=who.sequence + n,
                at=who.at,
                **one,  # type: ignore[arg-type] # the contract's fields, from just above
            )
            for n, one in enumerate(changes, 1)
        ]

    def _moves(self, row: int, *, silent: bool) -> list[dict[str, object]]:
        """Return the segments entered and left."""
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

    def message(self, row: int) -> Classification:
        """Return the classification as the risk message carries it."""
        plain, value = self.plain, defined(self.plain.value[row])
        scores = plain.rfm[row]
        return Classification(
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
            rfm=rfm.digits(*scores),
            rfm_cell=word(rfm.CELLS, plain.cell[row]),
            quality=list(self.now.quality[row]),
        )

    def rows(self, at: Ints, to: Written) -> ClassificationRows:
        """Return the rows to store for the customers at these rows of the batch."""
        now, life, n = self.now, self.now.life, len(at)
        value = life.value[at]
        return ClassificationRows(
            customer=objects(to.customers),
            partition=to.partition,
            sequence=to.sequence,
            at=to.at,
            grade=now.grade[at],
            tier=now.tier[at],
            behaviour=now.behaviour[at],
            lifecycle=now.lifecycle[at],
            lifecycle_since=whole_us(now.lifecycle_since[at]),
            segments=objects([self.segments[row] for row in at.tolist()]),
            rules_revision=np.full(n, self.by.rules.revision),
            policy_version=np.full(n, self.by.policy_version),
            needs=objects([now.needs[row] for row in at.tolist()]),
            quality=objects([now.quality[row] for row in at.tolist()]),
            rfm=now.rfm.T[at],
            rfm_cell=now.cell[at],
            score=now.score[at],
            worth=now.worth[at],
            lifetime_value=value,
            lifetime_value_days=np.where(np.isnan(value), 0, self.by.policy.horizon_days),
            expected_purchases=life.purchases[at],
            alive_probability=life.alive[at],
            value_at_risk=to.value_at_risk,
            net_spent=to.net_spent,
            profit=now.profit[at],
            overridden=self.before.override[at] != NONE,
        )
