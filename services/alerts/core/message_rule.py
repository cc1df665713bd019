"""The rule of a `self_service` playbook by which a provider sends a message to the customer."""

from typing import Annotated

import msgspec
from msgspec import Meta

from services.alerts.core.consent import ALL_CHANNELS, spelled
from services.alerts.core.policy_parts import Both, Code, TimeOfDay
from shared.contracts.events import PROFILING, Channel
from shared.kernel.errors import Invalid


class MessageRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is sent, by which provider and channel, how often at most, and when not."""

    endpoint: Code
    """Id of the provider's endpoint: a webhook with a route that names `customer_message.send`."""
    channel: Channel
    """A channel as in the profile's `consent`: `email`, `sms`, `wecom`."""
    text: Both
    """What the customer reads, in the language of the profile."""
    subject: Both | None = None
    messages_max: Annotated[int, Meta(ge=1, le=100)] = 2
    """Most messages to one customer by this channel within `per_days`, of all playbooks."""
    per_days: Annotated[int, Meta(ge=1, le=365)] = 30
    """Rolling days."""
    quiet_from: TimeOfDay = "20:00"
    """Begin of the hours in which no message is sent, by the customer's clock."""
    quiet_until: TimeOfDay = "09:00"


def check(place: str, service: str, rule: MessageRule) -> None:
    """Raise Invalid, naming the field, unless the rule fits the playbook at `place`."""
    if service != "self_service":
        raise Invalid(f"{place}.send", "goes with `service: self_service` only")
    if rule.quiet_from == rule.quiet_until:
        raise Invalid(f"{place}.send.quiet_until", "must differ from quiet_from")
    if spelled(rule.channel) in {ALL_CHANNELS, PROFILING}:
        raise Invalid(f"{place}.send.channel", "name one channel, as the profile's consent does")
