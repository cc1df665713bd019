"""Refuses events whose subject is no customer, and says why."""

from services.ingest.core.faults import fault
from shared.contracts.customers import is_customer, shown


def customer(subject: str) -> str:
    """The customer id, as it came; Invalid where it is none.

    >>> customer("household-7")
    'household-7'
    """
    if is_customer(subject):
        return subject
    if not shown(subject):
        raise fault("subject", "blank: it names the customer")
    raise fault(
        "subject",
        f"{shown(subject)!r} is what a broken client sends where it knows of no customer",
    )
