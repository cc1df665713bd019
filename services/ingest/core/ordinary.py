"""Fast path: decodes and checks the ordinary event in one typed pass.

Most events of a stream are purchases and interactions in plain JSON that have no more fields than
we read. All others are left to the careful path (`message` and the checks of `accept`), and only
that one reports faults. What this path accepts, the careful path accepts with the same result.

It earns its place: measured in one run on purchases and interactions, accepting an event costs 1.9
times as much on the careful path (15.3 µs against 8.0), and intake does little else per event.
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
from shared.kernel.errors import UNREADABLE

ABSENT: Final[Any] = None
"""Default of optional fields. Typed without None, because a null must reach the content hash."""

QUANTITY_MAX: Final = 1_000_000
"""Larger numbers are written differently by different senders; numbers up to this are not."""

QUOTES: Final = 26
"""Number of quotes around the names of the seven attributes and their six text values."""

QUOTES_OPTIONAL: Final = 4
"""Number of quotes around the content type and its name."""


class OrdinaryItem(
    msgspec.Struct, kw_only=True, omit_defaults=True, forbid_unknown_fields=True, gc=False
):
    """A line of a basket, as `events.Item`."""

    sku: Identifier = ABSENT
    category: ShortText = ABSENT
    # Two types, because a whole number is written without a fraction.
    quantity: (
        Annotated[int, Meta(ge=0, le=QUANTITY_MAX)] | Annotated[float, Meta(ge=0, le=QUANTITY_MAX)]
    ) = ABSENT


class OrdinaryPurchase(
    msgspec.Struct, kw_only=True, omit_defaults=True, forbid_unknown_fields=True, gc=False
):
    """The data of a purchase, as `events.Purchase`."""

    amount: DecimalText = ABSENT
    currency: Currency = ABSENT
    cost: DecimalText = ABSENT
    channel: Channel = ABSENT
    order_id: Identifier = ABSENT
    items: Annotated[list[OrdinaryItem], Meta(max_length=1_000)] = []


class OrdinaryInteraction(
    msgspec.Struct, kw_only=True, omit_defaults=True, forbid_unknown_fields=True, gc=False
):
    """The data of an interaction, as `events.Interaction`."""

    kind: Annotated[str, Meta(min_length=1, max_length=80)]
    channel: Channel = ABSENT
    category: ShortText = ABSENT
    campaign_id: Identifier = ABSENT


class Ordinary(
    msgspec.Struct, kw_only=True, forbid_unknown_fields=True, tag_field="type", gc=False
):
    """A CloudEvent with the attributes that we read, except `data_base64`, and no others."""

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
    """Returns the event and its data in canonical JSON; None: use the careful path.

    >>> decode(b'{"type": "io.ebbwatch.purchase"}') is None
    True
    """
    if b"\\" in value:
        return None  # thus every remaining quote begins or ends a name or a text
    try:
        event = _DECODER.decode(value)
    except UNREADABLE:
        return None
    canonical = _ENCODER.encode(event.data)
    # A name that was sent twice is read once, so its quotes are missing; so are an empty list's.
    quotes = QUOTES if event.datacontenttype is None else QUOTES + QUOTES_OPTIONAL
    return (event, canonical) if value.count(b'"') == quotes + canonical.count(b'"') else None
