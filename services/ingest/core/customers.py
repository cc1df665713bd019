"""Refuses events with a subject that cannot be a customer id, and gives the reason."""

from services.ingest.core.faults import fault, short
from shared.contracts.customers import is_customer, shown


def customer(subject: str, field: str = "subject") -> str:
    """Returns a customer id unchanged; raises Invalid with `field` for any other text.

    >>> customer("household-7")
    'household-7'
    """
    if is_customer(subject):
        return short(field, subject)
    if not shown(subject):
        raise fault(field, "blank: it names the customer")
    raise fault(
        field,
        f"{shown(subject)!r} is what a broken client sends where it knows of no customer",
    )
