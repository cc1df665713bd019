"""Converts each event type's own `data` to the flat shape that all readers share.

One function per type, listed in `NORMALISE`. Only this module converts amounts to floats of the
reporting currency; what the source wrote is kept beside them.
"""

from collections.abc import Callable
from datetime import UTC, date
from typing import Any

import msgspec

from services.ingest.core.customers import customer
from services.ingest.core.faults import fault, short
from services.ingest.core.rates import RateTable
from shared.contracts.activity import ActivityData
from shared.contracts.events import (
    Contract,
    Feedback,
    Identity,
    Interaction,
    Item,
    Loyalty,
    Profile,
    Purchase,
    Refund,
)


def purchase(data: Purchase, day: date, rates: RateTable) -> ActivityData:
    """Converts a purchase; a negative amount or cost is Invalid."""
    amount, cost = data.amount, data.cost
    money = amount is not None or cost is not None
    rate = rates.rate(data.currency, day) if money else 1.0
    return ActivityData(
        amount=None if amount is None else _not_negative("data.amount", amount) * rate,
        cost=None if cost is None else _not_negative("data.cost", cost) * rate,
        original_amount=amount,
        currency=data.currency or (rates.reporting if money else None),
        channel=data.channel,
        category=_category(data.items),
        items=len(data.items) or None,
        order_id=short("data.order_id", data.order_id),
    )


def refund(data: Refund, day: date, rates: RateTable) -> ActivityData:
    """Converts a refund; sources write either sign, the result is positive."""
    amount = data.amount
    rate = 1.0 if amount is None else rates.rate(data.currency, day)
    return ActivityData(
        amount=None if amount is None else abs(float(amount)) * rate,
        original_amount=amount,
        currency=data.currency or (None if amount is None else rates.reporting),
        channel=data.channel,
        order_id=short("data.order_id", data.order_id),
    )


def interaction(data: Interaction, _: date, __: RateTable) -> ActivityData:
    """Converts an interaction; values are unchanged."""
    return ActivityData(
        kind=data.kind,
        channel=data.channel,
        category=data.category,
        campaign_id=short("data.campaign_id", data.campaign_id),
    )


def feedback(data: Feedback, _: date, __: RateTable) -> ActivityData:
    """Converts feedback; values are unchanged."""
    return ActivityData(
        kind=data.kind,
        score=data.score,
        case_id=short("data.case_id", data.case_id),
        text=data.text,
        channel=data.channel,
    )


def contract(data: Contract, _: date, __: RateTable) -> ActivityData:
    """Converts a contract; its end is converted to UTC."""
    ends_at = data.ends_at
    if ends_at is not None:
        if ends_at.tzinfo is None:
            raise fault("data.ends_at", "an offset from UTC is missing")
        if data.kind != "activated":
            raise fault("data.ends_at", "belongs to an activated contract")
        ends_at = ends_at.astimezone(UTC)
    return ActivityData(
        kind=data.kind,
        contract_id=short("data.contract_id", data.contract_id),
        ends_at=ends_at,
        text=data.reason,
    )


def loyalty(data: Loyalty, _: date, __: RateTable) -> ActivityData:
    """Converts a loyalty event; fields that its kind needs are required, the referred customer is
    left out."""
    if data.kind.startswith("points_") and data.points is None:
        raise fault("data.points", f"missing: {data.kind} needs a number of points")
    expiring = data.kind == "points_expiring"
    if expiring != (data.expires_on is not None):
        missing = "missing: the last day on which the points can be spent"
        raise fault("data.expires_on", missing if expiring else "belongs to points_expiring")
    return ActivityData(
        kind=data.kind,
        points=_unsigned_zero(data.points),
        balance=_unsigned_zero(data.balance),
        expires_on=data.expires_on,
        level=data.level,
        level_before=data.level_before,
    )


def profile(data: Profile, _: date, __: RateTable) -> ActivityData:
    """Converts a profile; values are unchanged."""
    if data.owner is not None:
        short("data.owner.id", data.owner.id)
    return ActivityData(profile=data)


def identity(data: Identity, _: date, __: RateTable) -> ActivityData:
    """Converts a statement about ids; each must be one that a customer can have."""
    for at, text in enumerate(data.ids):
        customer(text, f"data.ids[{at}]")
    if data.primary is not None:
        customer(data.primary, "data.primary")
    if data.kind != "unlinked" and not data.ids:
        raise fault("data.ids", "missing: the ids that belong together with the subject")
    if data.kind == "contact" and len(data.ids) != 1:
        raise fault("data.ids", "a contact belongs to one account: name that one")
    if data.kind != "linked" and (data.primary is not None or data.device):
        raise fault("data", "`primary` and `device` belong to linked ids")
    return ActivityData(identity=data)


NORMALISE: dict[type[msgspec.Struct], Callable[[Any, date, RateTable], ActivityData]] = {
    Purchase: purchase,
    Refund: refund,
    Interaction: interaction,
    Feedback: feedback,
    Profile: profile,
    Contract: contract,
    Identity: identity,
    Loyalty: loyalty,
}


def _not_negative(field: str, text: str) -> float:
    number = float(text)
    if number < 0:
        raise fault(field, f"{text} is negative: money that went back is an event of type refund")
    return abs(number)  # "-0.00" is a zero


def _unsigned_zero(number: float | None) -> float | None:
    """Returns 0 for "-0.0": equal numbers must be equal in every bit of a state."""
    return None if number is None else number + 0.0


def _category(items: list[Item]) -> str | None:
    """Returns the category with the most lines; the first one on a tie."""
    if len(items) == 1:
        return items[0].category
    counts: dict[str, int] = {}
    for item in items:
        category = item.category
        if category is not None:
            counts[category] = counts.get(category, 0) + 1
    return max(counts, key=counts.__getitem__) if counts else None
