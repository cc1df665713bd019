"""Whether a customer may be contacted, on which channel, and profiled: the one place of this law.

| the first that applies                                                | refused because  |
|-----------------------------------------------------------------------|------------------|
| the customer does not want to be profiled                             | `not_profiled`   |
| the customer must not be contacted                                    | `do_not_contact` |
| unsubscribed from the channel, or from all, and not subscribed since  | `unsubscribed`   |
| the newest profile refuses the channel                                | `no_consent`     |
| the channel asks for consent, and the newest profile states none      | `no_consent`     |

Tasks, their plans and messages to customers ask here: `core/policy.py`, `core/playbook.py`,
`core/customer_message.py`. It reads no clock: a wish counts from when it is known.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from shared.contracts.events import PROFILING, Profile
from shared.kernel.grouping import grouped

ALL_CHANNELS: Final = "*"
"""Of a wish: every channel."""

Refusal = Literal["not_profiled", "do_not_contact", "unsubscribed", "no_consent"]
LeftAlone = Literal["not_profiled", "do_not_contact"]
"""Wishes that exclude a customer from all tasks."""


@dataclass(frozen=True, slots=True)
class Subscription:
    """The newest unsubscription from a channel, and the newest return to it."""

    channel: str
    """In lower case; `*`: the customer named none, which means all; `profiling`: no channel, but
    being assessed."""
    unsubscribed_at: datetime | None
    subscribed_at: datetime | None
    came_with: str = ""
    """The id that it is of, where a customer has several."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a customer allows, as far as it is known."""

    profile: Profile
    """The newest one; an empty one where none has arrived."""
    subscriptions: Sequence[Subscription] = ()


def refusal(wishes: Wishes, channel: str, *, asks: bool) -> Refusal | None:
    """Return why the customer may not be contacted on a channel; None: they may.

    `asks`: only an explicit consent counts, as for messages that a provider sends. Otherwise no
    answer counts as consent.

    >>> refusal(Wishes(Profile(consent={"Email": False})), "email", asks=False)
    'no_consent'
    """
    if not_profiled_since(wishes.subscriptions) is not None:
        return "not_profiled"
    if wishes.profile.do_not_contact:
        return "do_not_contact"
    if unsubscribed(wishes.subscriptions, channel):
        return "unsubscribed"
    own = spelled(channel)
    stated = [agrees for name, agrees in wishes.profile.consent.items() if spelled(name) == own]
    return None if all(stated) and (stated or not asks) else "no_consent"


def allowed(channels: Sequence[str], wishes: Wishes, required: Sequence[str]) -> str | None:
    """Return the first channel on which the customer may be contacted; None where there is none.

    No answer counts as consent, except for the channels in `required`.

    >>> wishes = Wishes(Profile(consent={"phone": False}))
    >>> allowed(["phone", "email"], wishes, required=["email"])
    >>> allowed(["phone", "email"], wishes, required=[])
    'email'
    """
    asked = {spelled(channel) for channel in required}
    return next((c for c in channels if refusal(wishes, c, asks=spelled(c) in asked) is None), None)


def unsubscribed(found: Iterable[Subscription], channel: str) -> bool:
    """Return whether the customer is unsubscribed from a channel, whatever order events came in.

    A return counts if it is later than every unsubscription that concerns the channel. Of a
    customer with several ids, each decides for all: one that is unsubscribed is enough.
    """
    concerned = {spelled(channel), ALL_CHANNELS}
    own = grouped((one.came_with, one) for one in found if one.channel in concerned)
    return any(map(_away, own.values()))


def _away(own: Sequence[Subscription]) -> bool:
    away = max((s.unsubscribed_at for s in own if s.unsubscribed_at), default=None)
    back = max((s.subscribed_at for s in own if s.subscribed_at), default=None)
    return away is not None and (back is None or back <= away)


def not_profiled_since(found: Iterable[Subscription]) -> datetime | None:
    """Return since when the customer does not want to be profiled; None: they may be."""
    own = [s for s in found if s.channel == PROFILING]
    since = max((s.unsubscribed_at for s in own if s.unsubscribed_at), default=None)
    return since if unsubscribed(own, PROFILING) else None


def spelled(channel: str | None) -> str:
    """Return the channel as records of wishes name it.

    >>> spelled(" E-Mail"), spelled(None)
    ('e-mail', '*')
    """
    return " ".join((channel or "").lower().split()) or ALL_CHANNELS
