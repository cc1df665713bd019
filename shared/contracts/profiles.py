"""One profile of several: each field by its last writer, consent by the stricter. No I/O."""

from collections.abc import Iterable
from datetime import datetime

import msgspec
from msgspec.structs import replace

from shared.contracts.events import Profile

Dated = tuple[datetime, str, Profile]
"""Time of the change, event id, profile: the order of writers is that of the first two."""


def merged(profiles: Iterable[Dated]) -> Dated:
    """Returns the one profile of a customer with several ids; there is at least one.

    A field that the last writer leaves out is the one before's. A consent that one of them refuses
    is refused, and the customer is not contacted where one of them is not to be.
    """
    ordered = sorted(profiles, key=lambda each: each[:2])
    at, event_id, result = ordered[-1]
    for _, _, earlier in reversed(ordered[:-1]):
        missing = {
            name: value
            for name, default in _DEFAULTS.items()
            if getattr(result, name) == default and (value := getattr(earlier, name)) != default
        }
        both = earlier.consent.keys() & result.consent.keys()
        consent = earlier.consent | result.consent
        consent |= {name: earlier.consent[name] and result.consent[name] for name in both}
        result = replace(
            result,
            **missing
            | {
                "consent": consent,
                "attributes": earlier.attributes | result.attributes,
                "do_not_contact": earlier.do_not_contact or result.do_not_contact,
            },
        )
    return at, event_id, result


_DEFAULTS = {
    field.name: field.default_factory() if field.default is msgspec.NODEFAULT else field.default
    for field in msgspec.structs.fields(Profile)
    if field.name not in {"consent", "attributes", "do_not_contact"}
}
