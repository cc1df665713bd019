"""Who is to be warned about: from an assessment and what we know, to raise, close or nothing.

What it is for: the one place that decides about retention tasks. Time is business time and
comes with the message; the wall clock has no say. It never writes, sends or words anything.
"""

import base64
import hashlib
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Literal

from shared.contracts.risk import BANDS, Band, RiskAssessed

TRAITS: Final = frozenset({"seldom_buyer"})
"""Reasons that tell how a customer has always been. They explain a probability, but nothing
has changed: an owner could only be told to watch somebody who behaves as ever."""

NO_REVISION: Final = -1
"""Revision of a customer of whom no assessment has been seen."""

CloseReason = Literal["came_back", "do_not_contact", "verdict"]
Why = Literal[
    "stale", "below", "win_back", "unchanged", "not_armed", "do_not_contact", "cooldown",
    "limit", "ramp", "raised",
]  # fmt: skip
"""Which row of the decision table applied; a label of the metrics."""


@dataclass(frozen=True, slots=True)
class Policy:
    """The thresholds. Days are days of business time."""

    band_raise: Band = "high"
    cooldown_days: int = 28
    ramp_days: int = 7
    """Days over which those found at risk by the first look after a backfill are spread."""
    open_tasks_max: int = 1
    """Open tasks of one customer, whatever their causes."""
    traits: frozenset[str] = TRAITS
    """Reasons that are no cause of a task by themselves."""


@dataclass(frozen=True, slots=True)
class OpenTask:
    """What the policy needs to know of an open task."""

    id: str
    cause: str
    opened_at: datetime


@dataclass(frozen=True, slots=True)
class CustomerState:
    """What is remembered of a customer between messages."""

    customer_id: str
    revision: int = NO_REVISION
    """Of the newest assessment seen."""
    band: Band | None = None
    armed: bool = True
    """False from a task on until the band falls below `band_raise`."""
    ramp_until: datetime | None = None
    """At risk since before we looked: no task before this time."""
    raised_at: datetime | None = None
    """When the last task was raised."""
    episode: int = 0
    """How many tasks were raised so far."""
    purchased_at: datetime | None = None
    """Newest live purchase, from either topic."""
    do_not_contact_at: datetime | None = None
    """When a profile said that the customer must not be contacted; None: nobody says so."""
    open: tuple[OpenTask, ...] = ()


@dataclass(frozen=True, slots=True)
class Raised:
    """A new task."""

    task: OpenTask
    episode: int


@dataclass(frozen=True, slots=True)
class Closed:
    """An open task that ends."""

    task: OpenTask
    at: datetime
    reason: CloseReason


Step = Raised | Closed


@dataclass(frozen=True, slots=True)
class Decision:
    """The state from now on, and what is to be done, in order."""

    state: CustomerState
    steps: tuple[Step, ...]
    why: Why


def decide(state: CustomerState, message: RiskAssessed, policy: Policy) -> Decision:
    """What an assessment leads to. Rows are tried from the top; the first that holds decides.

    | the assessment                                              | why            | armed | ramp |
    |-------------------------------------------------------------|----------------|-------|------|
    | is not newer than the newest seen                           | stale          |       |      |
    | is below `band_raise`                                       | below          | yes   | none |
    | silent beyond the horizon (or never bought): win-back's job | win_back       |       |      |
    | no reason but traits: the customer behaves as ever          | unchanged      |       |      |
    | band has not been below since the last task                 | not_armed      |       |      |
    | the customer must not be contacted                          | do_not_contact |       |      |
    | fewer than `cooldown_days` since the last task              | cooldown       |       |      |
    | `open_tasks_max` are open, or one of the same cause         | limit          |       |      |
    | first look after a backfill, or its ramp day is not reached | ramp           |       | set  |
    | otherwise                                                   | raised         | no    | none |

    Before any row but the first, open tasks end that `settle` ends. A task raised on an
    assessment older than the customer's newest purchase is raised and ends at once: which
    tasks exist depends on the assessments alone, not on which topic was read first.
    """
    if message.revision <= state.revision:
        return Decision(state, (), "stale")
    seen = replace(
        state,
        revision=message.revision,
        band=message.band,
        purchased_at=_latest(state.purchased_at, message.last_purchase_at),
    )
    seen, ended = settle(seen)
    why = _why(seen, message, policy)
    if why == "below":
        seen = replace(seen, armed=True, ramp_until=None)
    elif why == "ramp" and seen.ramp_until is None:
        seen = replace(seen, ramp_until=_ramp_until(message, policy))
        if _ramp_over(seen, message):
            why = "raised"
    cause = _cause(message, policy)
    if why != "raised" or cause is None:
        return Decision(seen, ended, why)
    raised = _raise(seen, message, cause)
    after = replace(
        seen,
        armed=False,
        ramp_until=None,
        raised_at=message.assessed_at,
        episode=raised.episode,
        open=(*seen.open, raised.task),
    )
    after, overtaken = settle(after)
    return Decision(after, (*ended, raised, *overtaken), "raised")


def settle(state: CustomerState) -> tuple[CustomerState, tuple[Closed, ...]]:
    """End the open tasks that have no object any more.

    The customer bought after the task was opened, or must not be contacted any more.
    """
    ended = tuple(closed for task in state.open if (closed := _closed(state, task)) is not None)
    gone = {closed.task.id for closed in ended}
    if not gone:
        return state, ()
    return replace(state, open=tuple(t for t in state.open if t.id not in gone)), ended


def purchased(state: CustomerState, at: datetime) -> tuple[CustomerState, tuple[Closed, ...]]:
    """A live purchase happened at `at`, in any order with the others."""
    return settle(replace(state, purchased_at=_latest(state.purchased_at, at)))


def task_id(customer_id: str, cause: str, episode: int) -> str:
    """The same for the same customer, cause and episode, on every replay.

    >>> task_id("c-1", "complaint_open", 1)
    'rt_z7d2lgmqe6dj2gzxcwhgnbm2de'
    """
    return "rt_" + stable_id("task", customer_id, cause, str(episode))


def stable_id(*parts: str) -> str:
    """26 lower-case letters and digits that stand for `parts` (128 bits of BLAKE2b)."""
    digest = hashlib.blake2b(digest_size=16, person=b"ebbwatch")
    for part in parts:
        encoded = part.encode()
        digest.update(len(encoded).to_bytes(4) + encoded)
    return base64.b32encode(digest.digest()).decode().rstrip("=").lower()


def _why(state: CustomerState, message: RiskAssessed, policy: Policy) -> Why:
    if BANDS.index(message.band) < BANDS.index(policy.band_raise):
        return "below"
    if message.days_silent is None or message.days_silent > message.horizon_days:
        return "win_back"
    if _cause(message, policy) is None:
        return "unchanged"
    if not state.armed:
        return "not_armed"
    if state.do_not_contact_at is not None:
        return "do_not_contact"
    return _when(state, message, policy)


def _when(state: CustomerState, message: RiskAssessed, policy: Policy) -> Why:
    cooldown = timedelta(days=policy.cooldown_days)
    if state.raised_at is not None and message.assessed_at - state.raised_at < cooldown:
        return "cooldown"
    causes = {task.cause for task in state.open}
    if len(state.open) >= policy.open_tasks_max or _cause(message, policy) in causes:
        return "limit"
    waiting = state.ramp_until is not None and not _ramp_over(state, message)
    if waiting or (message.onboarding and state.ramp_until is None):
        return "ramp"
    return "raised"


def _ramp_until(message: RiskAssessed, policy: Policy) -> datetime:
    digest = hashlib.blake2b(message.customer_id.encode(), digest_size=8, person=b"ramp").digest()
    days = int.from_bytes(digest) % policy.ramp_days if policy.ramp_days else 0
    return message.assessed_at + timedelta(days=days)


def _ramp_over(state: CustomerState, message: RiskAssessed) -> bool:
    return state.ramp_until is not None and message.assessed_at >= state.ramp_until


def _cause(message: RiskAssessed, policy: Policy) -> str | None:
    """The leading reason that is a change; None where there is none."""
    return next((r.code for r in message.reasons if r.code not in policy.traits), None)


def _raise(state: CustomerState, message: RiskAssessed, cause: str) -> Raised:
    episode = state.episode + 1
    number = task_id(state.customer_id, cause, episode)
    return Raised(OpenTask(number, cause, message.assessed_at), episode)


def _closed(state: CustomerState, task: OpenTask) -> Closed | None:
    if state.purchased_at is not None and state.purchased_at > task.opened_at:
        return Closed(task, state.purchased_at, "came_back")
    if state.do_not_contact_at is not None:
        return Closed(task, max(task.opened_at, state.do_not_contact_at), "do_not_contact")
    return None


def _latest(a: datetime | None, b: datetime | None) -> datetime | None:
    known = [t for t in (a, b) if t is not None]
    return max(known, default=None)
