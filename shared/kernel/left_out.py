"""What no audit entry keeps, by the names of fields: secrets, and free text about a person.

The one place for it: `shared.postgres.audit` passes everything through here before it is stored.
"""

from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

SECRETS: Final = ("secret", "token", "password", "key", "credential")
"""A field whose name contains one of these is left out."""

FREE_TEXT: Final = frozenset({"reason", "note", "why", "text", "comment", "description"})
"""Fields that are left out of an entry about a customer, since anything may be written there."""

LEFT_OUT: Final = "(left out)"


def without_secrets(value: Any, *, about_customer: bool = False) -> Any:
    """Returns a value of JSON with every secret left out; `about_customer`: free text, too.

    Of an address only what is before its query is kept, without a user and a password.

    >>> without_secrets({"url": "http://u:p@h/a?key=k", "inner": [{"api_key": "k"}], "note": "n"})
    {'url': 'http://h/a', 'inner': [{'api_key': '(left out)'}], 'note': 'n'}
    >>> without_secrets({"grade": "vip", "reason": "Ann asked"}, about_customer=True)
    {'grade': 'vip', 'reason': '(left out)'}
    """
    if isinstance(value, dict):
        return {
            name: LEFT_OUT
            if inner is not None and _is_left_out(str(name), about_customer=about_customer)
            else _address(inner)
            if str(name).endswith("url") and isinstance(inner, str)
            else without_secrets(inner, about_customer=about_customer)
            for name, inner in value.items()
        }
    if isinstance(value, list | tuple):
        return [without_secrets(inner, about_customer=about_customer) for inner in value]
    return value


def _is_left_out(name: str, *, about_customer: bool) -> bool:
    return any(word in name.lower() for word in SECRETS) or (about_customer and name in FREE_TEXT)


def _address(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        return LEFT_OUT
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
