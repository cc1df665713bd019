"""The policy document: which customers are warned about, what a task asks for, and by when.

It defines the shape of the document and checks its contents. The document is written as YAML or
JSON and stored in versions; `policy` makes the decisions.
"""

import difflib
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from services.alerts.core.message_rule import MessageRule
from services.alerts.core.message_rule import check as check_message
from services.alerts.core.policy_parts import Both, Code, Days, TimeOfDay
from shared.contracts.risk import Band, Grade, Lifecycle, Probability, Tier
from shared.contracts.signs import SignCode
from shared.contracts.treatment import LeavingCause
from shared.kernel.errors import Invalid
from shared.kernel.zones import zone

Names = Annotated[list[Annotated[str, Meta(min_length=1, max_length=200)]], Meta(max_length=100)]
Share = Annotated[float, Meta(ge=0, le=0.5)]
Money = Annotated[float, Meta(ge=0)]
"""Reporting currency."""
Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
WEEKDAYS: Final[tuple[Weekday, ...]] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
Service = Literal["named_owner", "fast_response", "self_service"]
"""Who acts: the account owner, the first free member of a team, or a machine."""

TRAITS: Final = frozenset({"seldom_buyer"})
"""Reasons that describe how a customer has always been. They explain a probability, but nothing has
changed, so they lead no task and are not among its reasons."""

RULES_MAX: Final = 200
"""Most rules, playbooks or schedules of one document: as many as a person can still oversee."""


class _Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of the document; a field that it does not know is an error."""


class Condition(_Part, frozen=True):
    """A condition on an assessment: all given parts must hold; empty lists and None always do."""

    bands: list[Band] = []
    probability_min: Probability | None = None
    probability_max: Probability | None = None
    rise_min: Probability | None = None
    """Least rise of the probability since the assessment before."""
    grades: list[Grade] = []
    tiers: list[Tier] = []
    lifecycles: list[Lifecycle] = []
    segments_any: Names = []
    segments_none: Names = []
    needs_any: Names = []
    reasons_any: Names = []
    """Codes; at least one of them must be among the signs or the reasons."""
    value_at_risk_min: Money | None = None
    days_silent_min: Annotated[float, Meta(ge=0)] | None = None
    days_silent_max: Annotated[float, Meta(ge=0)] | None = None


class PolicyRule(_Part, frozen=True):
    """A ruling on the assessments for which `when` holds; the first rule that holds decides."""

    name: Code
    when: Condition
    then: Literal["raise", "ignore"]


class SignPolicy(_Part, frozen=True):
    """The requirements on a sign of leaving for raising a task; all given ones must hold."""

    enabled: bool = True
    strength_min: Probability | None = None
    lapse_share_min: Annotated[float, Meta(ge=0, le=10)] | None = None
    """Least share of the lapse length that the silence must have reached."""
    days_left_max: Annotated[float, Meta(ge=0)] | None = None
    """Alternative to the share: at most so many days of the lapse length are left. Whichever comes
    first counts."""
    grades: list[Grade] = []
    tiers: list[Tier] = []
    value_at_risk_min: Money | None = None
    cooldown_days: Days | None = None
    """Days between two raisings of this cause; None: the policy's `cooldown_days`."""


DEFAULT_SIGNS: Final[Mapping[SignCode, SignPolicy]] = {
    "complaint_open": SignPolicy(),
    "satisfaction_low": SignPolicy(),
    "recommendation_low": SignPolicy(),
    "contract_ending": SignPolicy(),
    "slipping_again": SignPolicy(lapse_share_min=0.5),
    # Later is more certain, and 0.7 still comes before three quarters of the lapse length, whenever
    # the customer is assessed; 12 days leave 11 to act: an assessment comes up to a day later.
    "silence_beyond_rhythm": SignPolicy(lapse_share_min=0.7, days_left_max=12.0, strength_min=0.25),
    "frequency_falling": SignPolicy(),
    "interaction_falling": SignPolicy(),
    "value_falling": SignPolicy(),
    # Most such customers are of low value: the playbooks give them to a machine, and a budget
    # leaves them out.
    "new_and_quiet": SignPolicy(lapse_share_min=0.6),
    # Many members may have points that expire, or a level that is set anew, on one day: these warn
    # of customers who also buy later than usual, and earlier than the silence alone does.
    "points_expiring": SignPolicy(lapse_share_min=0.4),
    "level_lowered": SignPolicy(lapse_share_min=0.4),
}
"""Defaults of each sign, for the fields that a document does not set."""


class BudgetPoint(_Part, frozen=True):
    """The results of a least expected value, as found on the stored history.

    Only customers with a rhythm of their own count: newcomers are limited by the same level, but
    not counted.
    """

    expected_value_min: Money
    warnings: Annotated[int, Meta(ge=0)]
    """Warnings by statistical signs, and of win-back, over the days of the history."""
    warnings_per_100: Money
    """Per 100 customers with a rhythm of their own and 30 days."""
    precision: Probability | None = None
    """Share of the judged warnings after which the customer bought nothing in the rest of the lapse
    length."""
    recall: Probability | None = None
    """Share of the lapses that were warned about before they were complete."""
    value_kept: Probability | None = None
    """Expected value of these warnings as a share of that of all warnings without a budget."""


class Budget(_Part, frozen=True):
    """The limit of warnings as a least expected value, and the target that it was tuned for.

    It applies to statistical signs and to win-back; never to statements of a customer or a
    contract.
    """

    expected_value_min: Money | None = None
    """Least money expected from the customer within the horizon had they stayed. A silence does not
    change it, so the level decides which customers are warned about, never when."""
    warnings_per_100: Money | None = None
    """Target: warnings per 100 customers with a rhythm of their own and 30 days."""
    per_owner_per_day: Money | None = None
    """Target: warnings per owner and working day."""
    found_at: datetime | None = None
    """Business time at which the level was found."""
    days: Days | None = None
    """Days of history that it was found on."""
    expected: BudgetPoint | None = None
    curve: Annotated[list[BudgetPoint], Meta(max_length=50)] = []
    """The results of other levels."""


class WinBack(_Part, frozen=True):
    """Customers to win back: their silence reached the lapse length without a task."""

    within_days: Days = 91
    """Days after the lapse within which a task is raised for it; an older lapse gets none."""
    tiers: tuple[Tier, ...] = ("high", "mid")
    grades: list[Grade] = []
    value_at_risk_min: Money | None = None


class Hours(_Part, frozen=True):
    """When owners may be disturbed, in the owner's time zone or else in `time_zone`."""

    time_zone: str = "UTC"
    working_days: tuple[Weekday, ...] = ("mon", "tue", "wed", "thu", "fri")
    holidays: Annotated[list[date], Meta(max_length=366)] = []
    quiet_from: TimeOfDay | None = None
    """Begin of the quiet hours until `quiet_until`; a new task waits then, and on days off. None:
    no quiet hours, and no waiting on days off."""
    quiet_until: TimeOfDay | None = None


class Holdout(_Part, frozen=True):
    """Customers who are left alone on purpose, to measure what the tasks do."""

    share: Share = 0.0
    spare_grades: tuple[Grade, ...] = ("vip",)
    """Grades that are never held out."""


class Playbook(_Part, frozen=True):
    """What a task asks for, and which customers and causes it fits; empty lists fit all."""

    id: Code
    grades: list[Grade] = []
    tiers: list[Tier] = []
    causes: Names = []
    lifecycles: list[Lifecycle] = []
    needs_any: Names = []
    leaving_causes: list[LeavingCause] = []
    """Why the customer has left, for win-back tasks; an unknown cause fits an empty list only."""
    service: Service = "named_owner"
    channels: Names = []
    """Ways to reach the customer, the preferred one first."""
    offer: Both | None = None
    offer_points: Annotated[int, Meta(ge=1, le=1_000_000_000)] | None = None
    """Loyalty points that the owner, or a machine, may credit to the customer."""
    steps: Annotated[list[Both], Meta(max_length=20)] = []
    response_hours: Annotated[float, Meta(gt=0, le=24 * 60)] | None = None
    """Hours within which an owner must take the task on; None: no target, and no escalation."""
    due_working_days: Annotated[int, Meta(ge=0, le=260)] | None = None
    """None: the policy's working days, as for the band of the task."""
    save_rate: Probability = 0.1
    """Share of the warned customers that the playbook keeps; assumed until it is measured."""
    send: MessageRule | None = None
    """The message that a provider sends to the customer, of a `self_service` playbook; None: none
    is sent."""


class Care(_Part, frozen=True):
    """A schedule: raises tasks by the calendar and not by risk."""

    name: Code
    title: Both
    playbook: Code
    grades: list[Grade] = []
    every_days: Annotated[int, Meta(ge=1, le=3_650)] | None = None
    """Days after the last purchase or the last such task, whichever is later."""
    birthday_days_before: Annotated[int, Meta(ge=0, le=60)] | None = None
    on: Annotated[str, Meta(pattern=r"^(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$(?!\n)")] | None = (
        None
    )
    """Month and day of a holiday, every year."""


class OnSegment(_Part, frozen=True):
    """The task that entering a segment raises, exactly once for each entry."""

    segment: str
    title: Both
    playbook: Code


class Policy(_Part, frozen=True):
    """The whole document. Days are days of business time."""

    name: Code = "default"
    """Name of the policy. Renaming it draws the held-out customers anew."""
    signs: dict[SignCode, SignPolicy] = msgspec.field(default_factory=lambda: {**DEFAULT_SIGNS})
    """Which signs of leaving raise a task."""
    budget: Budget = Budget()
    rules: Annotated[list[PolicyRule], Meta(max_length=RULES_MAX)] = []
    cooldown_days: Days = 28
    """Days between two raisings of one cause of one customer, and after a verdict on it."""
    ramp_days: Days = 7
    """Days over which tasks are spread for customers at risk at the first assessment after a
    backfill."""
    open_tasks_max: Annotated[int, Meta(ge=1, le=20)] = 1
    """Most open tasks of one customer; a further cause joins the newest of them."""
    tasks_max: Annotated[int, Meta(ge=1, le=100)] | None = None
    """Most tasks of one customer within `tasks_period_days`; joined causes do not count."""
    tasks_period_days: Days = 91
    traits: frozenset[str] = TRAITS
    """Reasons that lead no task and are not among its reasons."""
    win_back: WinBack | None = WinBack()
    """None: no win-back tasks."""
    expire_days: Days | None = None
    """Days after which an open task ends by itself. None: never."""
    due_working_days: Annotated[int, Meta(ge=0, le=60)] = 3
    due_working_days_critical: Annotated[int, Meta(ge=0, le=60)] = 1
    order: Literal["grade_first", "value"] = "grade_first"
    """Order of an owner's queue: by grade and then by expected saved value, or by value alone."""
    consent_required: Names = []
    """Channels that need the customer's consent; the others are allowed until it is refused."""
    hours: Hours = Hours()
    holdout: Holdout = Holdout()
    playbooks: Annotated[list[Playbook], Meta(max_length=RULES_MAX)] = []
    care: Annotated[list[Care], Meta(max_length=RULES_MAX)] = []
    on_segment: Annotated[list[OnSegment], Meta(max_length=RULES_MAX)] = []

    def working_days(self, band: Band) -> int:
        """Return the working days from raising a task of `band` to its due date."""
        return self.due_working_days_critical if band == "critical" else self.due_working_days

    def sign(self, code: str) -> SignPolicy:
        """Return the requirements on a sign; a sign that this version does not know has none."""
        return self.signs.get(code, ANY_SIGN)  # type: ignore[call-overload, no-any-return]

    def cooldown(self, cause: str) -> timedelta:
        """Return the least time between two raisings of a cause."""
        own = self.sign(cause).cooldown_days
        return timedelta(days=self.cooldown_days if own is None else own)


ANY_SIGN: Final = SignPolicy()


def read(plain: object) -> Policy:
    """Convert values read from YAML or JSON to a policy; Invalid names the field that is wrong.

    >>> read({"name": "p", "cooldown_days": -1})
    Traceback (most recent call last):
    ...
    shared.kernel.errors.Invalid: policy: Expected `int` >= 0 - at `$.cooldown_days`
    """
    try:
        policy = msgspec.convert(_with_defaults(plain), Policy, strict=True)
    except msgspec.ValidationError as error:
        raise Invalid("policy", str(error)) from None
    _check(policy)
    return policy


def upgrade(plain: object) -> object:
    """Convert a document of an earlier version to this one; others are returned unchanged.

    Signs decide, not bands as before. Win-back is on unless a document of this version turns it
    off.
    """
    if not isinstance(plain, dict):
        return plain
    made = {name: value for name, value in plain.items() if name not in _BEFORE_SIGNS}
    within = plain.get("win_back_within_days")
    if within is not None and "win_back" not in made:
        made["win_back"] = {"within_days": within, "tiers": []}
    return made


_BEFORE_SIGNS: Final = frozenset({"band_raise", "band_raise_by_grade", "win_back_within_days"})
"""Fields of documents from before there were signs."""


def _with_defaults(plain: object) -> object:
    """Return the document with each sign's missing fields set to their defaults."""
    given = plain.get("signs") if isinstance(plain, dict) else None
    if not isinstance(plain, dict) or not isinstance(given, dict):
        return plain
    signs: dict[Any, Any] = {
        code: msgspec.to_builtins(default) for code, default in DEFAULT_SIGNS.items()
    }
    for code, fields in given.items():
        known = signs.get(code)
        signs[code] = {**known, **fields} if known and isinstance(fields, dict) else fields
    return {**plain, "signs": signs}


def plain(policy: Policy) -> dict[str, Any]:
    """Return the policy as JSON values, with all defaults, so that a diff shows all."""
    made: dict[str, Any] = msgspec.to_builtins(policy)
    return made | {"traits": sorted(policy.traits)}


def difference(before: Policy | None, after: Policy) -> list[str]:
    """Return the changes as lines of a unified diff over indented JSON."""
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
    for each in policy.playbooks:
        if each.send is not None:
            check_message(f"policy.playbooks.{each.id}", each.service, each.send)
    for place, playbook in uses:
        if playbook not in playbooks:
            raise Invalid(f"policy.{place}.playbook", f"no playbook {playbook!r}")
    for care in policy.care:
        if sum(x is not None for x in (care.every_days, care.birthday_days_before, care.on)) != 1:
            raise Invalid(
                f"policy.care.{care.name}", "give one of every_days, birthday_days_before, on"
            )


def _distinct(place: str, names: Sequence[str]) -> frozenset[str]:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise Invalid(f"policy.{place}", f"{twice[0]!r} is there twice")
    return frozenset(names)
