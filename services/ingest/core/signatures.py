"""Verifies the signatures of vendors' webhooks, each over the body's bytes as they came.

A source has one secret, or two while one replaces the other. Nothing here reads the body: a
signature is checked before anything else looks at what a stranger sent.
"""

import base64
import binascii
import hmac
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Final, Literal, get_args

Kind = Literal["shopify", "woocommerce", "stripe"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)

TOLERANCE_S: Final = 300
"""How far a signature's time may be from ours, in seconds, either way: what Stripe's own libraries
allow. An older one may be a request that was recorded and is sent again."""

PARTS_MAX: Final = 20
"""Parts of a `Stripe-Signature`: a time and a signature for each secret, old schemes included."""

SIGNATURE_CHARS_MAX: Final = 4_000
"""Characters of a header that are read: longer ones are no signature."""

SHOPIFY: Final = "x-shopify-hmac-sha256"
WOOCOMMERCE: Final = "x-wc-webhook-signature"
STRIPE: Final = "stripe-signature"

_SECONDS = re.compile(r"[0-9]{1,12}")
_HEX = re.compile(r"[0-9a-f]{64}")


def genuine(
    kind: Kind, headers: Mapping[str, str], body: bytes, secrets: Sequence[str], now_s: float
) -> bool:
    """Returns whether a body was signed with one of the secrets; never raises.

    `headers`: names in lower case. `now_s`: Unix seconds.
    """
    given = headers.get(HEADERS[kind], "")[:SIGNATURE_CHARS_MAX]
    # A digest is computed and every pair compared whatever was given: how long it takes depends
    # neither on which one matches nor on whether there is a source of this name at all.
    found = list(_CLAIMED[kind](given, now_s)) or [(b"", b"")]
    matches = [
        hmac.compare_digest(hmac.digest(secret.encode(), prefix + body, sha256), digest)
        for prefix, digest in found
        for secret in secrets
    ]
    return any(matches)


def _base64(given: str, _: float) -> Iterator[tuple[bytes, bytes]]:
    """Yields what is signed before the body, and the digest: Shopify and WooCommerce."""
    try:
        yield b"", base64.b64decode(given, validate=True)
    except (binascii.Error, ValueError):
        return


def _stripe(given: str, now_s: float) -> Iterator[tuple[bytes, bytes]]:
    """Yields the same of Stripe's `t=…,v1=…`: the time and a dot are signed before the body."""
    parts = [part.strip().partition("=") for part in given.split(",")]
    times = [value for name, _, value in parts if name == "t"]
    if len(parts) > PARTS_MAX or len(times) != 1 or not _SECONDS.fullmatch(times[0]):
        return
    if abs(now_s - int(times[0])) > TOLERANCE_S:
        return
    for name, _, value in parts:
        if name == "v1" and _HEX.fullmatch(value):
            yield f"{times[0]}.".encode(), bytes.fromhex(value)


HEADERS: Final[Mapping[Kind, str]] = {
    "shopify": SHOPIFY,
    "woocommerce": WOOCOMMERCE,
    "stripe": STRIPE,
}
"""Where each vendor sends its signature."""
_CLAIMED: Final[Mapping[Kind, Callable[[str, float], Iterator[tuple[bytes, bytes]]]]] = {
    "shopify": _base64,
    "woocommerce": _base64,
    "stripe": _stripe,
}
