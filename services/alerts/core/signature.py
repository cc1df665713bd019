"""Signs a webhook as Standard Webhooks says (specification v1.0.0, symmetric scheme).

What it is for: the three headers of an attempt. It never stores or prints a secret.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from shared.kernel.errors import Invalid

PREFIX: Final = "whsec_"
KEY_BYTES_MIN: Final = 24
KEY_BYTES_MAX: Final = 64
"""Bounds of the specification for a symmetric key."""


def key_of(secret: str) -> bytes:
    """The key in a `whsec_` secret; Invalid (without the secret) if it is not one."""
    if not secret.startswith(PREFIX):
        raise Invalid("secret", f"must begin with `{PREFIX}`")
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except binascii.Error:
        raise Invalid("secret", f"what follows `{PREFIX}` must be base64") from None
    if not KEY_BYTES_MIN <= len(key) <= KEY_BYTES_MAX:
        raise Invalid(
            "secret", f"must hold {KEY_BYTES_MIN} to {KEY_BYTES_MAX} random bytes, has {len(key)}"
        )
    return key


def headers(message_id: str, at: datetime, body: bytes, secrets: Sequence[str]) -> dict[str, str]:
    """The headers of an attempt made at `at` (UTC), signed with every secret.

    Several secrets while one is being replaced: a receiver accepts any that it knows. The
    tokens are separated by exactly one space; some verifiers refuse anything else.
    """
    seconds = int(at.timestamp())
    signed = f"{message_id}.{seconds}.".encode() + body
    tokens = (
        base64.b64encode(hmac.digest(key_of(secret), signed, hashlib.sha256)).decode()
        for secret in secrets
    )
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(seconds),
        "webhook-signature": " ".join(f"v1,{token}" for token in tokens),
    }
