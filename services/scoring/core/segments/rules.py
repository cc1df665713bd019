"""The user's segments in force: compiled rules, what they read, and the names they may use.

The service swaps the whole list when a definition changes, and builds one frame of columns for
all rules of a batch. This module never reads a table.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Final

import numpy as np

from services.scoring.core.features.registry import FEATURES
from services.scoring.core.segments.columns import Frame, WordLists, Words
from services.scoring.core.segments.expression import Expression, Kind, compile_rule
from shared.contracts.events import Profile
from shared.kernel.arrays import Flags, Floats
from shared.kernel.errors import Invalid

ID_PATTERN: Final = "^[a-z0-9][a-z0-9-]{0,59}$"
"""A word for URLs and messages, such as `big-city`."""

SEGMENTS_MAX: Final = 200
"""Definitions in force: fifty cost about 2 ms of a batch of 2,000 customers, and two hundred are
more than a person reads."""

CLASSIFICATION_NUMBERS: Final = (
    "probability",
    "value_at_risk",
    "lifetime_value",
    "expected_purchases",
    "alive_probability",
    "grade_score",
    "rfm_recency",
    "rfm_frequency",
    "rfm_monetary",
    "age_years",
)
CLASSIFICATION_TEXTS: Final = ("band", "grade", "tier", "behaviour", "lifecycle", "rfm_cell")
PROFILE_TEXTS: Final[Mapping[str, Callable[[Profile], str | None]]] = {
    **{
        name: attrgetter(name)
        for name in ("kind", "region", "industry", "size", "language", "time_zone")
    },
    "owner": lambda profile: None if profile.owner is None else profile.owner.id,
}

NAMES: Final[dict[str, Kind]] = {
    **{feature.name: "number" for feature in FEATURES},
    **dict.fromkeys(CLASSIFICATION_NUMBERS, "number"),
    **dict.fromkeys(CLASSIFICATION_TEXTS, "text"),
    **dict.fromkeys(PROFILE_TEXTS, "text"),
    "do_not_contact": "truth",
    "needs": "list",
    "quality": "list",
    "attributes": "map",
}
"""The names that a rule may read, and their kinds."""


@dataclass(frozen=True, slots=True)
class SegmentRule:
    """One segment in force."""

    id: str
    version: int
    """Version of this definition, from 1."""
    revision: int
    """Revision of all definitions when this one was saved."""
    expression: Expression
    action: str | None = None
    act_on_existing: bool = False
    """Whether existing members, found when a definition is saved, are reported as changes."""


def rule(
    segment: str, version: int, revision: int, source: str, *, action: str | None = None,
    act_on_existing: bool = False,
) -> SegmentRule:  # fmt: skip
    """Compile a rule and try it; raises Invalid where the expression cannot be run."""
    return SegmentRule(segment, version, revision, runnable(source), action, act_on_existing)


def runnable(source: str) -> Expression:
    """Compile a rule and run it on a few customers with missing and extreme data.

    Every error is reported as the rule's own, as Invalid: one that the compiler overlooked must
    not end the loop in which all other rules run.
    """
    try:
        expression = compile_rule(source, NAMES)
        expression.members(_trial(expression.names))
    except Invalid:
        raise
    except FAILURES as error:
        raise Invalid("expression", f"cannot be run: {type(error).__name__}") from error
    return expression


FAILURES: Final = (
    ArithmeticError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)
"""Errors that an overlooked expression can raise (an encoding error is a ValueError)."""


def _trial(names: frozenset[str]) -> Frame:
    """Return three customers: without data, with usual data, and with data at its bounds."""
    words = Words.of([None, "a", "\U0002a6cf"])
    flags = np.array([False, True, False])
    return Frame(
        count=3,
        numbers={
            name: flags if NAMES[name] == "truth" else np.array([np.nan, 0.0, 1e300])
            for name in names
            if NAMES[name] in {"number", "truth"}
        },
        words={name: words for name in names if NAMES[name] == "text"},
        lists={
            name: WordLists.of([[], ["a"], ["a", "b"]]) for name in names if NAMES[name] == "list"
        },
        maps={name: [{}, {"a": "b"}, {"": ""}] for name in names if NAMES[name] == "map"},
    )


@dataclass(frozen=True, slots=True)
class SegmentRules:
    """All rules in force. `revision` grows with every change of a definition."""

    revision: int
    items: tuple[SegmentRule, ...]
    failed: dict[str, str] = field(default_factory=dict)
    """By segment, why its rule failed on a customer: it has no members until it is redefined."""

    @property
    def names(self) -> frozenset[str]:
        """Return all names that any rule reads."""
        return frozenset().union(*(item.expression.names for item in self.items))

    def members(self, frame: Frame) -> Flags:
        """bool[segments, n]."""
        if not self.items:
            return np.zeros((0, frame.count), np.bool_)
        return np.stack([self._members(item, frame) for item in self.items])

    def _members(self, item: SegmentRule, frame: Frame) -> Flags:
        """Run one rule; if it fails, the failure is recorded and the other rules go on."""
        if item.id not in self.failed:
            try:
                return item.expression.members(frame)
            except FAILURES as error:
                self.failed[item.id] = f"failed on a customer: {type(error).__name__}"
        return np.zeros(frame.count, np.bool_)


NO_RULES: Final = SegmentRules(0, ())


def frame_of(
    names: frozenset[str],
    x: Floats,
    numbers: Mapping[str, Floats],
    texts: Mapping[str, Words],
    lists: Mapping[str, Sequence[Sequence[str]]],
    profiles: Sequence[Profile | None],
) -> Frame:
    """Return the columns in `names`; `numbers`, `texts`, `lists` are the classification's."""
    read = dict(numbers)
    read |= {f.name: x[:, at] for at, f in enumerate(FEATURES) if f.name in names}
    words = dict(texts)
    for name in names & PROFILE_TEXTS.keys():
        of = PROFILE_TEXTS[name]
        words[name] = Words.of([None if p is None else of(p) for p in profiles])
    if "do_not_contact" in names:
        flags = [p is not None and p.do_not_contact for p in profiles]
        read["do_not_contact"] = np.array(flags, np.bool_)
    return Frame(
        count=len(x),
        numbers=read,
        words=words,
        lists={name: WordLists.of(lists[name]) for name in names & lists.keys()},
        maps={"attributes": [{} if p is None else p.attributes for p in profiles]}
        if "attributes" in names
        else {},
    )
