"""Decides whether a message to a customer is sent now, later or never.

| the first that applies                                                | decision         |
|-----------------------------------------------------------------------|------------------|
| the playbook sends nothing any more                                   | `switched_off`   |
| the task has ended: the customer is back, erased, merged              | `task_closed`    |
| the customer must not be contacted                                    | `do_not_contact` |
| unsubscribed from the channel, or from all, and not subscribed since  | `unsubscribed`   |
| the newest profile states no consent to the channel                   | `no_consent`     |
| the customer is held out                                              | `held_out`       |
| the cause is older than `STALE_AFTER`                                 | `stale`          |
| the consent begins later, by the source's clock                       | wait until then  |
| quiet hours, by the customer's clock                                  | wait for their end |
| as many messages as allowed within the days before                    | `cap`            |
| no endpoint takes such messages under the rule's name                 | `no_endpoint`    |
| otherwise                                                             | send             |

The same decision is made when a message is handed to delivery and again before each attempt.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Final, Literal
from zoneinfo import ZoneInfo

from services.alerts.core.business_hours import WorkingCalendar
from services.alerts.core.ids import stable_id
from services.alerts.core.message_rule import ALL_CHANNELS, MessageRule
from services.alerts.core.policy_document import WEEKDAYS, Hours
from services.alerts.core.policy_parts import Both
from services.alerts.core.task import Task
from shared.contracts.customer_message import (
    ENCODER,
    SEND,
    CustomerMessage,
    MessageRequest,
    Recipient,
    Result,
)

STALE_AFTER: Final = timedelta(days=3)
"""Longest time from the cause to the message, in days of business time: it outlasts a weekend's
outage, and a reminder about something older confuses the customer."""

Status = Literal["waiting", "handed", "suppressed"]
"""`handed`: given to delivery, whose log shows the attempts."""
Suppression = Literal[
    "switched_off", "task_closed", "do_not_contact", "unsubscribed", "no_consent", "held_out",
    "stale", "cap", "no_endpoint",
]  # fmt: skip

_RANKS: Final[dict[Result | None, int]] = {
    None: 0, "accepted": 1, "bounced": 2, "unsubscribed": 3, "complaint": 4,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Subscription:
    """The newest unsubscription from a channel, and the newest return to it."""

    channel: str
    """In lower case; `*`: the customer named none, which means all."""
    unsubscribed_at: datetime | None
    subscribed_at: datetime | None
    came_with: str = ""
    """The id that it is of, where a customer has several."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """What a decision about one message depends on, as of now."""

    caused_at: datetime
    task_open: bool
    do_not_contact: bool
    held_out: bool
    consented_at: datetime | None
    """Since when the customer consents to the channel; None: the newest profile does not say so."""
    subscriptions: Sequence[Subscription] = ()
    earlier: Sequence[datetime] = ()
    """When other messages to the customer were handed to delivery for this channel."""
    zone: ZoneInfo
    """The customer's, else the owner's, else the policy's."""
    endpoint_takes: bool = True
    """Whether the rule's endpoint exists and takes such messages."""


@dataclass(frozen=True, slots=True)
class Send:
    """Hand the message to delivery."""

    deliver_until: datetime
    """Begin of the next quiet hours, UTC."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Decide again at `until`, UTC."""

    until: datetime


@dataclass(frozen=True, slots=True)
class Suppress:
    """The message is never sent."""

    reason: Suppression


Decision = Send | Wait | Suppress


def decide(rule: MessageRule | None, seen: Circumstances, now: datetime) -> Decision:
    """Return what is done with a message at `now`, business time; see the table above."""
    if rule is None:
        return Suppress("switched_off")
    if (never := _refused(rule, seen, now)) is not None:
        return Suppress(never)
    if seen.consented_at is not None and seen.consented_at > now:
        return Wait(seen.consented_at)
    begin = _hours(rule, seen.zone).may_disturb_at(now)
    if begin > now:
        return Wait(begin)
    since = now - timedelta(days=rule.per_days)
    if sum(since < at for at in seen.earlier) >= rule.messages_max:
        return Suppress("cap")
    if not seen.endpoint_takes:
        return Suppress("no_endpoint")
    return Send(quiet_begins(rule, seen.zone, now))


def _refused(rule: MessageRule, seen: Circumstances, now: datetime) -> Suppression | None:
    if not seen.task_open:
        return "task_closed"
    if seen.do_not_contact:
        return "do_not_contact"
    if unsubscribed(seen.subscriptions, rule.channel):
        return "unsubscribed"
    if seen.consented_at is None:
        return "no_consent"
    if seen.held_out:
        return "held_out"
    return "stale" if now > seen.caused_at + STALE_AFTER else None


def unsubscribed(found: Iterable[Subscription], channel: str) -> bool:
    """Return whether the customer is unsubscribed from a channel, whatever order events came in.

    A return counts if it is later than every unsubscription that concerns the channel. Of a
    customer with several ids, each decides for all: one that is unsubscribed is enough.
    """
    own: dict[str, list[Subscription]] = {}
    for one in found:
        if one.channel in {spelled(channel), ALL_CHANNELS}:
            own.setdefault(one.came_with, []).append(one)
    return any(map(_away, own.values()))


def _away(own: Sequence[Subscription]) -> bool:
    away = max((s.unsubscribed_at for s in own if s.unsubscribed_at), default=None)
    back = max((s.subscribed_at for s in own if s.subscribed_at), default=None)
    return away is not None and (back is None or back <= away)


def spelled(channel: str | None) -> str:
    """Return the channel as records of subscriptions name it.

    >>> spelled(" E-Mail"), spelled(None)
    ('e-mail', '*')
    """
    return " ".join((channel or "").lower().split()) or ALL_CHANNELS


def quiet_begins(rule: MessageRule, zone: ZoneInfo, now: datetime) -> datetime:
    """Return when the next quiet hours begin by the customer's clock, in UTC."""
    local, begin = now.astimezone(zone), time.fromisoformat(rule.quiet_from)
    on = local.replace(hour=begin.hour, minute=begin.minute, second=0, microsecond=0)
    return (on if on > local else on + timedelta(days=1)).astimezone(UTC)


def _hours(rule: MessageRule, zone: ZoneInfo) -> WorkingCalendar:
    """Return the customer's hours: every day of the week."""
    quiet = Hours(working_days=WEEKDAYS, quiet_from=rule.quiet_from, quiet_until=rule.quiet_until)
    return WorkingCalendar(quiet, zone)


def message_id(task_id: str) -> str:
    """Return the id of the message of a task: there is one for each, however often it is read."""
    return "cm_" + stable_id("customer message", task_id)


def body(
    task: Task, rule: MessageRule, consented_at: datetime, deliver_until: datetime, now: datetime
) -> bytes:
    """Return the bytes that the provider receives; `consented_at`: since when there is consent."""

    def worded(text: Both) -> str:
        return text.zh if task.language == "zh-CN" else text.en

    message = CustomerMessage(
        id=message_id(task.id),
        channel=rule.channel,
        customer=Recipient(id=task.customer_id, name=task.customer_name),
        language=task.language,
        text=worded(rule.text),
        subject=None if rule.subject is None else worded(rule.subject),
        playbook=task.plan.playbook,
        cause=task.cause,
        task_id=task.id,
        consented_at=consented_at,
        deliver_until=deliver_until,
    )
    return ENCODER.encode(MessageRequest(type=SEND, timestamp=now, data={"message": message}))


def outcome_after(known: Result | None, reported: Result) -> Result:
    """Return the outcome of a message after a report: the graver one, in whatever order they come.

    >>> outcome_after("complaint", "accepted")
    'complaint'
    """
    return known if known is not None and _RANKS[known] >= _RANKS[reported] else reported


def ends_subscription(reported: Result) -> bool:
    """Return whether a result unsubscribes the customer: a complaint is as clear as a word."""
    return reported in {"unsubscribed", "complaint"}
