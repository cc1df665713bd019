"""Events as upstream systems publish them: the `data` of a CloudEvent, one class for each type.

Upstream sends CloudEvents 1.0 in structured mode (one JSON object) or binary mode (`ce_*` headers,
data as the value). `subject` is the customer id. Amounts are decimal strings with an ISO 4217
currency: a float loses precision that a ledger needs.
"""

from datetime import date, datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

PURCHASE = "io.ebbwatch.purchase"
REFUND = "io.ebbwatch.refund"
INTERACTION = "io.ebbwatch.interaction"
FEEDBACK = "io.ebbwatch.feedback"
PROFILE = "io.ebbwatch.profile"
CONTRACT = "io.ebbwatch.contract"
IDENTITY = "io.ebbwatch.identity"
LOYALTY = "io.ebbwatch.loyalty"
TICK = "io.ebbwatch.clock.tick"
"""Replay only: `time` becomes `now` in every partition."""
BACKFILL_ENDED = "io.ebbwatch.backfill.ended"
"""The silent import has ended: from here on, events are live."""

ERASURE = "io.ebbwatch.erasure"
"""The customer is to be forgotten: `id` identifies the request. Only ingest's API sends it."""

PROFILING = "profiling"
"""As the channel of an interaction `unsubscribed`: the customer does not want to be assessed; of
`subscribed`: allows it again."""

ID_LENGTH_MAX = 256
"""Characters in an event, source or customer id. A longer text is a fault, not an id."""

ID_BYTES_MAX = 512
"""Bytes of an id in UTF-8, 128 of the rarest characters: ingest refuses longer ones. Customer,
source and id together (1,536) then always fit `KEY_BYTES_MAX`."""

KEY_BYTES_MAX = 2_600
"""Bytes of customer, source and id together in UTF-8: an entry of a PostgreSQL index has room for
2,704 with its headers. Readers of `ebbwatch.activity` check it, since other processes can write
there."""

IDS_MAX = 50
"""Ids of one customer. More are a till's or a tablet's that many people use, not a person's."""

Identifier = Annotated[str, Meta(min_length=1, max_length=ID_LENGTH_MAX)]
ShortText = Annotated[str, Meta(max_length=200)]
LongText = Annotated[str, Meta(max_length=4_000)]
# Python's `$` also matches before a last newline, and its `\d` any script's digits; other readers
# of the JSON Schemas accept neither. Written so that all of them mean the same.
DecimalText = Annotated[str, Meta(pattern=r"^-?[0-9]{1,15}(\.[0-9]{1,9})?$(?!\n)", max_length=32)]
Currency = Annotated[str, Meta(pattern=r"^[A-Z]{3}$(?!\n)")]
Channel = Annotated[str, Meta(min_length=1, max_length=40)]
"""A free word; `online`, `offline`, `phone`, `email`, `wecom` are the usual ones."""


class Item(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One line of a basket."""

    sku: Identifier | None = None
    category: ShortText | None = None
    quantity: Annotated[float, Meta(ge=0)] | None = None


class Purchase(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The customer bought. `amount` >= 0, or absent where the source has none."""

    amount: DecimalText | None = None
    currency: Currency | None = None
    cost: DecimalText | None = None
    channel: Channel | None = None
    order_id: Identifier | None = None
    items: Annotated[list[Item], Meta(max_length=1_000)] = []


class Refund(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Money went back or an order was cancelled. Either sign; recorded as positive."""

    amount: DecimalText | None = None
    currency: Currency | None = None
    channel: Channel | None = None
    order_id: Identifier | None = None


class Interaction(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The customer did, or was sent, something that is not a purchase.

    `kind` is the source's own word (`page_viewed`, `campaign_received`, `coupon_redeemed`).
    """

    kind: Annotated[str, Meta(min_length=1, max_length=80)]
    channel: Channel | None = None
    category: ShortText | None = None
    campaign_id: Identifier | None = None


FeedbackKind = Literal[
    "survey", "complaint_opened", "complaint_closed", "suggestion", "recommendation"
]


class Feedback(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What the customer said. `score` is 0-10: satisfaction for `survey`, intent for
    `recommendation`."""

    kind: FeedbackKind
    score: Annotated[float, Meta(ge=0, le=10)] | None = None
    case_id: Identifier | None = None
    text: LongText | None = None
    channel: Channel | None = None


class Contract(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A contract of the customer runs from now on (new, renewed, taken up again), or none does any
    more (cancelled, ran out). Of several contracts at once, `ended` comes with the last one."""

    kind: Literal["activated", "ended"]
    contract_id: Identifier | None = None
    ends_at: datetime | None = None
    """When an activated contract ends unless it is renewed, with an offset from UTC."""
    reason: ShortText | None = None
    """Why it ended, in the company's own words."""


class Identity(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Which ids are one customer (docs/identity.md).

    `linked`: the subject and `ids` are one. `unlinked`: the subject, or each of `ids` where it is
    not empty, is a customer of its own again. `contact`: the subject is a person at the account
    that `ids` names, and what the person does counts for the account.
    """

    kind: Literal["linked", "unlinked", "contact"] = "linked"
    ids: Annotated[list[Identifier], Meta(max_length=IDS_MAX)] = []
    primary: Identifier | None = None
    """Of linked ids, the one that the customer is to have; by default the longest known one."""
    device: bool = False
    """The ids were seen on one device, which may be shared: customers that are known by other ids
    are never joined because of it."""


POINTS_MAX = 1e12
"""Points of one event, and of a balance: more than any programme has issued."""

LoyaltyKind = Literal[
    "points_earned", "points_spent", "points_expired", "points_expiring", "level_raised",
    "level_lowered", "referral",
]  # fmt: skip


class Loyalty(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Something happened in the loyalty programme, or the customer brought another one.

    `points_expiring` reports what will expire if it is not spent; a newer report replaces an older
    one, and one of 0 points withdraws it.
    """

    kind: LoyaltyKind
    points: Annotated[float, Meta(ge=0, le=POINTS_MAX)] | None = None
    """How many were earned, spent, expired or will expire; required with the `points_` kinds."""
    balance: Annotated[float, Meta(ge=-POINTS_MAX, le=POINTS_MAX)] | None = None
    """Points in the account after the event, where the source reports it."""
    expires_on: date | None = None
    """The last day on which expiring points can be spent, in the company's own calendar; required
    with `points_expiring`. A date, since the owner reads it and no time zone may move it."""
    level: ShortText | None = None
    """The level after a change, in the company's own words."""
    level_before: ShortText | None = None
    referred: Identifier | None = None
    """The customer who was brought. Checked and not kept: the erasure of that customer must leave
    nothing behind in the history of another one."""


class Owner(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The account owner in the company's own system."""

    id: Identifier
    name: ShortText | None = None


class Contact(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A person to talk to at an account."""

    name: ShortText | None = None
    role: ShortText | None = None
    email: ShortText | None = None
    phone: ShortText | None = None


class Profile(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Who the customer is: a person, or an account with contacts. The newest one stands."""

    kind: Literal["person", "account"] = "person"
    name: ShortText | None = None
    owner: Owner | None = None
    region: ShortText | None = None
    industry: ShortText | None = None
    size: ShortText | None = None
    needs: Annotated[list[ShortText], Meta(max_length=50)] = []
    language: Annotated[str, Meta(pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$(?!\n)")] | None = None
    time_zone: ShortText | None = None
    birthday: date | None = None
    contacts: Annotated[list[Contact], Meta(max_length=100)] = []
    consent: dict[ShortText, bool] = {}
    do_not_contact: bool = False
    no_profiling: bool | None = None
    """True: the customer does not want to be assessed; False: allows it. None: this profile does
    not state it, and an earlier statement stands."""
    attributes: Annotated[dict[ShortText, ShortText], Meta(max_length=100)] = {}
    """Demographics or anything else that segments may use."""

    @property
    def owner_id(self) -> str | None:
        """Id of the account owner; None: there is none."""
        return None if self.owner is None else self.owner.id


def id_fault(text: str) -> str | None:
    """Returns why a text is too long for an id, in bytes; None where it is not.

    >>> id_fault("客" * 200)
    '600 bytes in UTF-8, at most 512 are accepted'
    """
    if len(text) * 4 <= ID_BYTES_MAX or text.isascii():
        return None  # its characters are bounded by the type
    size = len(text.encode("utf-8", "surrogatepass"))
    return (
        None
        if size <= ID_BYTES_MAX
        else f"{size} bytes in UTF-8, at most {ID_BYTES_MAX} are accepted"
    )


def key_fault(subject: str, source: str, event_id: str) -> str | None:
    """Returns why these are too long together for the key of an index; None where they are not."""
    if 4 * (len(subject) + len(source) + len(event_id)) <= KEY_BYTES_MAX:
        return None
    size = sum(len(part.encode("utf-8", "surrogatepass")) for part in (subject, source, event_id))
    if size <= KEY_BYTES_MAX:
        return None
    return f"{size} bytes together, at most {KEY_BYTES_MAX}: shorten them"


DATA_BY_TYPE: dict[str, type[msgspec.Struct]] = {
    PURCHASE: Purchase,
    REFUND: Refund,
    INTERACTION: Interaction,
    FEEDBACK: Feedback,
    PROFILE: Profile,
    CONTRACT: Contract,
    IDENTITY: Identity,
    LOYALTY: Loyalty,
}
CONTROL_TYPES = frozenset({TICK, BACKFILL_ENDED})
SINGLE_TYPES = CONTROL_TYPES | {ERASURE}
"""Types of records on `ebbwatch.activity` that are processed one by one, not in columns."""
