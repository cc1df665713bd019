"""Decodes keys that encrypt secrets in the database, and checks their format.

Keys are not made or stored here.
"""

import base64
import binascii
from typing import Final

from shared.kernel.errors import Invalid

KEY_BYTES: Final = 32
"""Length of an AES-256 key."""

SETTING: Final = "EBBWATCH_ALERTS_SECRET_KEYS"


def key_of(text: str) -> bytes:
    """Decode a base64 key; raise Invalid (without the key) if it is not one of 32 bytes."""
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except binascii.Error:
        raise Invalid(SETTING, "each key must be base64") from None
    if len(key) != KEY_BYTES:
        raise Invalid(SETTING, f"each key must be {KEY_BYTES} random bytes, one has {len(key)}")
    return key
