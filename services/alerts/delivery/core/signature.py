"""Signs webhooks by the Standard Webhooks specification (v1.0.0), and verifies signed callbacks.

It makes the three headers of an attempt, in both schemes: `v1` (HMAC-SHA256, a shared secret
`whsec_`) and `v1a` (ed25519, a secret key `whsk_` with a public half `whpk_` for verification).
Secrets are never made, stored or printed here.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from shared.kernel.errors import Invalid

PREFIX: Final = "whsec_"
PRIVATE_PREFIX: Final = "whsk_"
PUBLIC_PREFIX: Final = "whpk_"
KEY_BYTES_MIN: Final = 24
KEY_BYTES_MAX: Final = 64
"""Longest symmetric key by the specification."""
SEED_BYTES: Final = 32
PRIVATE_BYTES: Final = (SEED_BYTES, 64)
"""Lengths of an ed25519 secret key: its seed, or the seed with the public key after it."""

TOLERANCE_S: Final = 300
"""Seconds by which a signed callback may be old or early: the limit of every official library."""


def key_of(secret: str) -> bytes:
    """Return the key in a `whsec_` secret; raise Invalid (without the secret) if it is not one."""
    if not secret.startswith(PREFIX):
        raise Invalid("secret", f"must begin with `{PREFIX}`")
    key = _decoded(secret, PREFIX)
    if not KEY_BYTES_MIN <= len(key) <= KEY_BYTES_MAX:
        raise Invalid(
            "secret", f"must hold {KEY_BYTES_MIN} to {KEY_BYTES_MAX} random bytes, has {len(key)}"
        )
    return key


def check(secret: str) -> None:
    """Raise Invalid (without the secret) unless it is a `whsec_` or a `whsk_` secret."""
    if secret.startswith(PRIVATE_PREFIX):
        _private(secret)
    elif secret.startswith(PREFIX):
        key_of(secret)
    else:
        raise Invalid("secret", f"must begin with `{PREFIX}` or `{PRIVATE_PREFIX}`")


def symmetric(random: bytes) -> str:
    """Return the `whsec_` secret of 24 to 64 random bytes."""
    return PREFIX + base64.b64encode(random).decode()


def asymmetric(seed: bytes) -> str:
    """Return the `whsk_` secret of an ed25519 seed of 32 random bytes."""
    key = Ed25519PrivateKey.from_private_bytes(seed)
    return PRIVATE_PREFIX + base64.b64encode(seed + _public(key)).decode()


def public_key(secret: str) -> str | None:
    """Return the `whpk_` half, by which a receiver verifies `v1a`; None for a symmetric secret."""
    if not secret.startswith(PRIVATE_PREFIX):
        return None
    return PUBLIC_PREFIX + base64.b64encode(_public(_private(secret))).decode()


def headers(message_id: str, at: datetime, body: bytes, secrets: Sequence[str]) -> dict[str, str]:
    """Return the headers of an attempt made at `at` (UTC), signed with every secret.

    There are several secrets while one is being replaced: a receiver accepts any that it knows. The
    tokens are separated by exactly one space; some verifiers refuse anything else.
    """
    seconds = int(at.timestamp())
    signed = f"{message_id}.{seconds}.".encode() + body
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(seconds),
        "webhook-signature": " ".join(_token(secret, signed) for secret in secrets),
    }


def verify(sent: Mapping[str, str], body: bytes, secrets: Sequence[str], now: datetime) -> str:
    """Return the id of a message that was signed with one of our secrets (v1 or v1a).

    Raises Invalid, naming the header, when it is not signed by any, or is too old or early.
    Compares in constant time.
    """
    message_id, stamp = sent.get("webhook-id", ""), sent.get("webhook-timestamp", "")
    if not message_id:
        raise Invalid("webhook-id", "is missing")
    if not (stamp.isascii() and stamp.isdigit()):
        raise Invalid("webhook-timestamp", "must be Unix seconds")
    if abs(now.timestamp() - int(stamp[:12])) > TOLERANCE_S:
        raise Invalid("webhook-timestamp", f"is not within {TOLERANCE_S} s of our clock")
    signed = f"{message_id}.{stamp}.".encode() + body
    given = [token.encode() for token in sent.get("webhook-signature", "").split(" ")]
    ours = [_token(secret, signed).encode() for secret in secrets]
    # Every pair is compared, so that the time does not reveal which one nearly matched.
    if not sum(hmac.compare_digest(a, b) for a in given for b in ours):
        raise Invalid("webhook-signature", "matches none of this endpoint's secrets")
    return message_id


def _token(secret: str, signed: bytes) -> str:
    if secret.startswith(PRIVATE_PREFIX):
        return "v1a," + base64.b64encode(_private(secret).sign(signed)).decode()
    return "v1," + base64.b64encode(hmac.digest(key_of(secret), signed, hashlib.sha256)).decode()


def _private(secret: str) -> Ed25519PrivateKey:
    key = _decoded(secret, PRIVATE_PREFIX)
    if len(key) not in PRIVATE_BYTES:
        raise Invalid("secret", f"must hold an ed25519 key of 32 or 64 bytes, has {len(key)}")
    return Ed25519PrivateKey.from_private_bytes(key[:SEED_BYTES])


def _public(key: Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def _decoded(secret: str, prefix: str) -> bytes:
    try:
        return base64.b64decode(secret.removeprefix(prefix), validate=True)
    except binascii.Error:
        raise Invalid("secret", f"what follows `{prefix}` must be base64") from None
