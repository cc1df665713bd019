"""A shortcut: the ordinary event, decoded and checked in one typed pass.

Most of a stream are purchases and interactions that say what we read, and no more, in plain JSON.
What is not of that kind is left to the careful way (`message` and the checks of `accept`), which
alone tells faults. Whatever is taken here, the careful way would take, with the same outcome.
"""

from datetime import datetime
from typing import Annotated, Any, ClassVar, Final, Literal

import msgspec
from msgspec import Meta

from shared.contracts.events import (
    INTERACTION,
    PURCHASE,
    Channel,
    Currency,
    DecimalText,
    Identifier,
    ShortText,
)

ABSENT: Final[Any] = None
"""Of fields that may be left out. Typed without None: a null has to reach the content hash."""

QUANTITY_MAX: Final = 1_000_000
"""Numbers of many digits are written in as many ways as there are writers; these are not."""

QUOTES: Final = 26
"""Around the names of the seven attributes and the six texts among their values."""

QUOTES_OPTIONAL: Final = 4
"""Around the content type and its name."""


class OrdinaryItem(
    msgspec.Struct, kw_only=True, omit_defaults=True, forbid_unknown_fields=True, gc=False
):
    """As `events.Item`."""

    sku: Identifier = ABSENT
    category: ShortText = ABSENT
    # Both kinds of number: a whole one is written without a fraction.
    quantity: (
        Annotated[int, Meta(ge=0, le=QUANTITY_MAX)] | Annotated[float, Meta(ge=0, le=QUANTITY_MAX)]
    ) = ABSENT


class OrdinaryPurchase(
    msgspec.Struct, kw_only=True, omit_defaults=True, forbid_unknown_fields=True, gc=False
):
    """As `events.Purchase`."""

    amount: DecimalText = ABSENT
    currency: Currency = ABSENT
    cost: DecimalText = ABSENT
    channel: Channel = ABSENT
    order_id: Identifier = ABSENT
    items: Annotated[list[OrdinaryItem], Meta(max_length=1_000)] = []


class OrdinaryInteraction(
    msgspec.Struct, kw_only=True, omit_defaults=True, forbid_unknown_fields=True, gc=False
):
    """As `events.Interaction`."""

    kind: Annotated[str, Meta(min_length=1, max_length=80)]
    channel: Channel = ABSENT
    category: ShortText = ABSENT
    campaign_id: Identifier = ABSENT


class Ordinary(
    msgspec.Struct, kw_only=True, forbid_unknown_fields=True, tag_field="type", gc=False
):
    """A CloudEvent with every attribute that we read but `data_base64`, and no other."""

    type: ClassVar[str]
    specversion: Literal["1.0"]
    id: Identifier
    source: Identifier
    time: Annotated[datetime, Meta(tz=True)]
    subject: Identifier
    datacontenttype: Literal["application/json"] = ABSENT


class PurchaseEvent(Ordinary, kw_only=True, tag=PURCHASE, gc=False):
    """An ordinary purchase."""

    type = PURCHASE
    data: OrdinaryPurchase


class InteractionEvent(Ordinary, kw_only=True, tag=INTERACTION, gc=False):
    """An ordinary interaction."""

    type = INTERACTION
    data: OrdinaryInteraction


_DECODER = msgspec.json.Decoder(PurchaseEvent | InteractionEvent)
_ENCODER = msgspec.json.Encoder(order="sorted")


def decode(value: bytes) -> tuple[PurchaseEvent | InteractionEvent, bytes] | None:
    """The event and its data in canonical JSON (`message.read`); None: go the careful way.

    >>> decode(b'{"type": "io.ebbwatch.purchase"}') is None
    True
    """
    if b"\\" in value:
        return None  # so every quote that is left begins or ends a name or a text
    try:
        event = _DECODER.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    canonical = _ENCODER.encode(event.data)
    # A name that was sent twice is read once: its quotes are missing. So is an empty list.
    quotes = QUOTES if event.datacontenttype is None else QUOTES + QUOTES_OPTIONAL
    return (event, canonical) if value.count(b'"') == quotes + canonical.count(b'"') else None
