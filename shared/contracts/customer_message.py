"""A message to a customer as its provider receives it, and what the provider reports back.

Both are Standard Webhooks payloads, signed with the key of the provider's endpoint.
"""

from datetime import datetime
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from shared.contracts.events import Channel, Identifier, ShortText

SEND: Final = "customer_message.send"
RESULT: Final = "customer_message.result"

Result = Literal["accepted", "bounced", "unsubscribed", "complaint"]
"""What became of a message: the channel took it, could not deliver it, the customer wants no more
by this channel, or reported it as unwanted."""

MessageId = Annotated[str, Meta(min_length=1, max_length=200)]


class Recipient(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """The customer, by the id of the company's own system; the provider knows the address."""

    id: str
    name: str | None = None


class CustomerMessage(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """One message that is to be sent to a customer."""

    id: str
    """Equal to the header `webhook-id`: the same on every attempt. Send each id once."""
    channel: str
    """`email`, `sms`, `wecom` …: as in the profile's `consent`."""
    customer: Recipient
    language: str
    """Language of the texts: `en` or `zh-CN`."""
    text: str
    subject: str | None = None
    playbook: str
    cause: str
    task_id: str
    consented_at: datetime
    """Since when the customer consents to this channel, by the profiles."""
    deliver_until: datetime
    """Begin of the quiet hours: discard what could not be handed on by then; it comes again."""


class MessageRequest(msgspec.Struct, kw_only=True, frozen=True):
    """What the provider receives."""

    type: Literal["customer_message.send"]
    timestamp: datetime
    """When it was handed to delivery, business time."""
    data: dict[Literal["message"], CustomerMessage]


class Reported(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """The result of one message, or an unsubscription that names no message."""

    result: Result
    message_id: MessageId | None = None
    customer_id: Identifier | None = None
    """Of an unsubscription or a complaint without a `message_id`."""
    channel: Channel | None = None
    """With `customer_id`; absent: all channels."""
    reason: ShortText | None = None
    """In the provider's words, without personal data; shown to operators."""


class MessageResult(msgspec.Struct, kw_only=True, frozen=True):
    """What the provider sends to `POST /v1/callbacks/{endpoint id}`."""

    type: Literal["customer_message.result"]
    data: Reported


ENCODER = msgspec.json.Encoder()
RESULT_DECODER = msgspec.json.Decoder(MessageResult)
