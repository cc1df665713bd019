"""The wishes that an event states anew, for the history of wishes. No I/O."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from services.alerts.core.consent import ALL_CHANNELS, spelled
from shared.contracts.events import Profile

Said = Literal[
    "consent", "refusal", "no_statement", "do_not_contact", "may_contact", "unsubscribed",
    "subscribed",
]  # fmt: skip
"""`no_statement`: a newer profile no longer contains a channel, which ends a consent."""


@dataclass(frozen=True, slots=True)
class Statement:
    """One wish, as a source reported it."""

    customer_id: str
    at: datetime
    """Time of the statement, by the source's clock."""
    source: str
    """The event's source, or the provider's endpoint."""
    event_id: str
    about: str
    """A channel in lower case; `*`: any contact, or all channels; `profiling`: being assessed."""
    said: Said
    late: bool = False
    """It was read after a newer profile, which is valid."""


def stated(before: Profile, after: Profile) -> Iterator[tuple[str, Said]]:
    """Return how a profile differs from the one before it: (about, said).

    >>> list(stated(Profile(consent={"sms": True}), Profile(consent={"email": False})))
    [('email', 'refusal'), ('sms', 'no_statement')]
    """
    old, new = _spelled(before), _spelled(after)
    for about, agrees in sorted(new.items()):
        if old.get(about) is not agrees:
            yield about, "consent" if agrees else "refusal"
    for about in sorted(old.keys() - new.keys()):
        yield about, "no_statement"
    if before.do_not_contact != after.do_not_contact:
        yield ALL_CHANNELS, "do_not_contact" if after.do_not_contact else "may_contact"


def _spelled(profile: Profile) -> dict[str, bool]:
    """Return consent by channel; of several spellings, one refusal is a refusal."""
    found: dict[str, bool] = {}
    for name, agrees in profile.consent.items():
        found[spelled(name)] = found.get(spelled(name), True) and agrees
    return found
