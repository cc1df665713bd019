"""The policy document: who is warned about, what is asked for, of whom, and by when.

What it is for: the shape of the document and what must hold within it. It is written as YAML
or JSON, stored in versions, and read here; it never decides (`policy` does).
"""

import difflib
from collections.abc import Sequence
from datetime import date
from typing import Annotated, Any, Final, Literal
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Meta

from shared.contracts.risk import Band, Grade, Lifecycle, Probability, Tier
from shared.kernel.errors import Invalid

Days = Annotated[int, Meta(ge=0, le=3_650)]
Code = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$(?!\n)")]
"""A name within the document; a label of metrics, so short and few."""
Text = Annotated[str, Meta(min_length=1, max_length=500)]
Names = Annotated[list[Annotated[str, Meta(min_length=1, max_length=200)]], Meta(max_length=100)]
TimeOfDay = Annotated[str, Meta(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$(?!\n)")]
"""`20:00`; in YAML within quotes."""
Share = Annotated[float, Meta(ge=0, le=0.5)]
Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
WEEKDAYS: Final[tuple[Weekday, ...]] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
Service = Literal["named_owner", "fast_response", "self_service"]
"""Who acts: the account owner; whoever of a team is free first; nobody, a machine does."""

TRAITS: Final = frozenset({"seldom_buyer"})
"""Reasons that tell how a customer has always been. They explain a probability, but nothing
has changed: an owner could only be told to watch somebody who behaves as ever."""

RULES_MAX: Final = 200
"""Rules, playbooks or schedules of one document: what a person can still oversee."""


class _Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of the document; a field that it does not know is an error."""


class Both(_Part, frozen=True, rename={"zh": "zh-CN"}):
    """A text that owners read, in both languages."""

    en: Text
    zh: Text


class Condition(_Part, frozen=True):
    """Holds when all that is given holds; empty lists and None ask nothing."""

    bands: list[Band] = []
    probability_min: Probability | None = None
    probability_max: Probability | None = None
    rise_min: Probability | None = None
    """By how much the probability has risen since the assessment before."""
    grades: list[Grade] = []
    tiers: list[Tier] = []
    lifecycles: list[Lifecycle] = []
    segments_any: Names = []
    segments_none: Names = []
    needs_any: Names = []
    reasons_any: Names = []
    """Codes of which one must be among the reasons."""
    value_at_risk_min: Annotated[float, Meta(ge=0)] | None = None
    days_silent_min: Annotated[float, Meta(ge=0)] | None = None
    days_silent_max: Annotated[float, Meta(ge=0)] | None = None


class Rule(_Part, frozen=True):
    """What happens to assessments on which `when` holds; the first rule that holds decides."""

    name: Code
    when: Condition
    then: Literal["raise", "ignore"]


class Hours(_Part, frozen=True):
    """When owners may be disturbed, in the owner's time zone or else in `time_zone`."""

    time_zone: str = "UTC"
    working_days: tuple[Weekday, ...] = ("mon", "tue", "wed", "thu", "fri")
    holidays: Annotated[list[date], Meta(max_length=366)] = []
    quiet_from: TimeOfDay | None = None
    """From then until `quiet_until`, and on days off, a new task waits. None: never quiet."""
    quiet_until: TimeOfDay | None = None


class Holdout(_Part, frozen=True):
    """Customers who are left alone on purpose, to measure what the tasks do."""

    share: Share = 0.0
    spare_grades: tuple[Grade, ...] = ("vip",)
    """Grades of which nobody is held out."""


class Playbook(_Part, frozen=True):
    """What is to be done for a grade, a cause, a lifecycle; empty lists: all of them."""

    id: Code
    grades: list[Grade] = []
    tiers: list[Tier] = []
    causes: Names = []
    lifecycles: list[Lifecycle] = []
    needs_any: Names = []
    service: Service = "named_owner"
    channels: Names = []
    """How to reach the customer, the preferred way first."""
    offer: Both | None = None
    steps: Annotated[list[Both], Meta(max_length=20)] = []
    response_hours: Annotated[float, Meta(gt=0, le=24 * 60)] | None = None
    """By when an owner must have taken it on; None: no target, and no escalation."""
    due_working_days: Annotated[int, Meta(ge=0, le=260)] | None = None
    """None: what `due_working_days` of the policy says."""
    save_rate: Probability = 0.1
    """Share of those warned about whom this keeps; assumed until it is measured."""


class Care(_Part, frozen=True):
    """A task that comes by the calendar and not by risk."""

    name: Code
    title: Both
    playbook: Code
    grades: list[Grade] = []
    every_days: Annotated[int, Meta(ge=1, le=3_650)] | None = None
    """So many days after the last purchase or the last such task, whichever is later."""
    birthday_days_before: Annotated[int, Meta(ge=0, le=60)] | None = None
    on: Annotated[str, Meta(pattern=r"^(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$(?!\n)")] | None = (
        None
    )
    """Month and day of a holiday, every year."""


class OnSegment(_Part, frozen=True):
    """What entering a segment leads to, exactly once for each entry."""

    segment: str
    title: Both
    playbook: Code


class Policy(_Part, frozen=True):
    """The whole document. Days are days of business time."""

    name: Code = "default"
    """Keeps its holdout: renaming it draws the held-out customers anew."""
    band_raise: Band = "high"
    """Band from which a customer is warned about, where no rule says otherwise."""
    band_raise_by_grade: dict[Grade, Band] = {}
    rules: Annotated[list[Rule], Meta(max_length=RULES_MAX)] = []
    cooldown_days: Days = 28
    """Between two tasks of one customer."""
    ramp_days: Days = 7
    """Days over which those found at risk by the first look after a backfill are spread."""
    open_tasks_max: Annotated[int, Meta(ge=1, le=20)] = 1
    """Open tasks of one customer, whatever their causes."""
    tasks_max: Annotated[int, Meta(ge=1, le=100)] | None = None
    """Tasks of one customer within `tasks_period_days`."""
    tasks_period_days: Days = 91
    traits: frozenset[str] = TRAITS
    """Reasons that are no cause of a task by themselves."""
    win_back_within_days: Days | None = None
    """A customer silent beyond the horizon, but not longer than this, is won back by one task
    for each time of leaving. None: no win-back tasks."""
    expire_days: Days | None = None
    """An open task ends by itself after so many days. None: never."""
    due_working_days: Annotated[int, Meta(ge=0, le=60)] = 3
    due_working_days_critical: Annotated[int, Meta(ge=0, le=60)] = 1
    order: Literal["grade_first", "value"] = "grade_first"
    """Of an owner's queue: by grade and then by expected saved value, or by that alone."""
    consent_required: Names = []
    """Channels that need the customer's yes; the others end with a no."""
    hours: Hours = Hours()
    holdout: Holdout = Holdout()
    playbooks: Annotated[list[Playbook], Meta(max_length=RULES_MAX)] = []
    care: Annotated[list[Care], Meta(max_length=RULES_MAX)] = []
    on_segment: Annotated[list[OnSegment], Meta(max_length=RULES_MAX)] = []

    def working_days(self, band: Band) -> int:
        """Working days from raising a task of `band` to its due date."""
        return self.due_working_days_critical if band == "critical" else self.due_working_days


def read(plain: object) -> Policy:
    """The policy in what YAML or JSON gave; Invalid names the field that is wrong.

    >>> read({"name": "p", "cooldown_days": -1})
    Traceback (most recent call last):
    ...
    shared.kernel.errors.Invalid: policy: Expected `int` >= 0 - at `$.cooldown_days`
    """
    try:
        policy = msgspec.convert(plain, Policy, strict=True)
    except msgspec.ValidationError as error:
        raise Invalid("policy", str(error)) from None
    _check(policy)
    return policy


def plain(policy: Policy) -> dict[str, Any]:
    """The policy as JSON values; what equals its default too, so that a diff shows all."""
    made: dict[str, Any] = msgspec.to_builtins(policy)
    return made | {"traits": sorted(policy.traits)}


def difference(before: Policy | None, after: Policy) -> list[str]:
    """What changed, as lines of a unified diff over indented JSON."""
    return list(
        difflib.unified_diff(
            [] if before is None else _lines(before), _lines(after), "before", "after", lineterm=""
        )
    )


def _lines(policy: Policy) -> list[str]:
    encoded = msgspec.json.format(msgspec.json.encode(plain(policy)), indent=2)
    return encoded.decode().splitlines()


def _check(policy: Policy) -> None:
    zone(policy.hours.time_zone)
    if (policy.hours.quiet_from is None) != (policy.hours.quiet_until is None):
        raise Invalid("policy.hours", "give both quiet_from and quiet_until, or neither")
    if not policy.hours.working_days:
        raise Invalid("policy.hours.working_days", "name at least one day")
    playbooks = _distinct("playbooks", [p.id for p in policy.playbooks])
    _distinct("rules", [r.name for r in policy.rules])
    _distinct("care", [c.name for c in policy.care])
    _distinct("on_segment", [s.segment for s in policy.on_segment])
    uses = [(f"care.{c.name}", c.playbook) for c in policy.care]
    uses += [(f"on_segment.{s.segment}", s.playbook) for s in policy.on_segment]
    for place, playbook in uses:
        if playbook not in playbooks:
            raise Invalid(f"policy.{place}.playbook", f"no playbook {playbook!r}")
    for care in policy.care:
        if sum(x is not None for x in (care.every_days, care.birthday_days_before, care.on)) != 1:
            raise Invalid(
                f"policy.care.{care.name}", "give one of every_days, birthday_days_before, on"
            )


def zone(name: str) -> ZoneInfo:
    """A time zone by its IANA name; Invalid when there is none of this name."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise Invalid("time_zone", f"no time zone {name!r}: use an IANA name") from None


def _distinct(place: str, names: Sequence[str]) -> frozenset[str]:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise Invalid(f"policy.{place}", f"{twice[0]!r} is there twice")
    return frozenset(names)
