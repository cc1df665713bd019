"""Vendors' signatures: what is genuine, and everything that is not."""

import base64
import hmac
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as some

from services.ingest.core.signatures import KINDS, TOLERANCE_S, Kind, genuine

NOW_S = 1_772_355_600
STRIPE_SECRET = "whsec_0123456789abcdef"
SHOP_SECRET = "shpss_0123456789abcdef"
OTHER = "another_0123456789abcdef"

STRIPE_BODY = b'{"id": "evt_1"}'
STRIPE_V1 = "8119fb451d3de72823477702beff5230dbd1c853fe8d09c803567df05bff7b0e"
"""Of `openssl dgst -sha256 -hmac whsec_0123456789abcdef` over `1772355600.{"id": "evt_1"}`."""
SHOP_BODY = b'{"id": 5551001}'
SHOP_DIGEST = "UckdQ22HECNG6i5XLLoppLpV/SfFJuhaemeIJa3opi4="
"""Of the same over the body alone, in base64."""


def stripe(header: str, body: bytes = STRIPE_BODY, *secrets: str, now_s: float = NOW_S) -> bool:
    """Return the verdict on a `Stripe-Signature`."""
    known = secrets or (STRIPE_SECRET,)
    return genuine("stripe", {"stripe-signature": header}, body, known, now_s)


def shop(kind: Kind, digest: str, body: bytes = SHOP_BODY, *secrets: str) -> bool:
    """Return the verdict on a digest in base64."""
    name = {"shopify": "x-shopify-hmac-sha256", "woocommerce": "x-wc-webhook-signature"}[kind]
    return genuine(kind, {name: digest}, body, secrets or (SHOP_SECRET,), NOW_S)


def test_stripes_documented_scheme() -> None:
    """The time, a dot and the body are signed; any of several `v1` counts, and no other scheme."""
    good = f"t={NOW_S},v1={STRIPE_V1}"
    assert stripe(good)
    assert stripe(f"t={NOW_S},v1={'0' * 64},v1={STRIPE_V1},v0={'1' * 64}")
    assert stripe(good, STRIPE_BODY, OTHER, STRIPE_SECRET), "rotated: the old secret counts too"
    assert not stripe(f"t={NOW_S},v0={STRIPE_V1}")
    assert not stripe(good, STRIPE_BODY + b" ")
    assert not stripe(good, STRIPE_BODY, OTHER)
    assert not stripe(f"t={NOW_S + 1},v1={STRIPE_V1}"), "the time is signed too"


@pytest.mark.parametrize(("late_s", "taken"), [(TOLERANCE_S, True), (TOLERANCE_S + 1, False)])
def test_stripes_time_has_a_tolerance(late_s: int, *, taken: bool) -> None:
    """A recorded request cannot be sent again later; a clock that is ahead has the same bound."""
    header = f"t={NOW_S},v1={STRIPE_V1}"
    assert stripe(header, now_s=NOW_S + late_s) is taken
    assert stripe(header, now_s=NOW_S - late_s) is taken


@pytest.mark.parametrize(
    "header",
    [
        "", "t=", "v1=", ",", "=", f"v1={STRIPE_V1}", f"t={NOW_S}", f"t={NOW_S},v1=",
        f"t={NOW_S},t={NOW_S},v1={STRIPE_V1}", f"t=-1,v1={STRIPE_V1}", f"t=nan,v1={STRIPE_V1}",
        f"t={'9' * 5_000},v1={STRIPE_V1}", f"t={NOW_S},v1={STRIPE_V1.upper()}",
        f"t={NOW_S},v1={STRIPE_V1}" + ",v1=x" * 30, f"t=\u0661,v1={STRIPE_V1}", "x" * 100_000,
    ],
)  # fmt: skip
def test_headers_that_are_no_signature_of_stripe(header: str) -> None:
    """None is taken, and none is an error."""
    assert not stripe(header)


@pytest.mark.parametrize("kind", ["shopify", "woocommerce"])
def test_a_digest_of_the_body_in_base64(kind: Kind) -> None:
    assert shop(kind, SHOP_DIGEST)
    assert shop(kind, SHOP_DIGEST, SHOP_BODY, OTHER, SHOP_SECRET)
    assert not shop(kind, SHOP_DIGEST, SHOP_BODY + b"\n")
    assert not shop(kind, SHOP_DIGEST, SHOP_BODY, OTHER)
    as_hex = base64.b64decode(SHOP_DIGEST).hex()
    for wrong in ("", "=", as_hex, SHOP_DIGEST[:-1], f" {SHOP_DIGEST}", "é", SHOP_DIGEST * 200):
        assert not shop(kind, wrong)


def test_each_kind_reads_its_own_header_only() -> None:
    """A signature of another vendor's counts for nothing."""
    headers = {"x-shopify-hmac-sha256": SHOP_DIGEST}
    assert not genuine("woocommerce", headers, SHOP_BODY, (SHOP_SECRET,), NOW_S)
    assert not genuine("stripe", headers, SHOP_BODY, (SHOP_SECRET,), NOW_S)


@given(
    kind=some.sampled_from(KINDS), body=some.binary(max_size=200),
    secret=some.text(min_size=16, max_size=60), at=some.integers(0, 2**31),
    other=some.binary(max_size=200),
)  # fmt: skip
def test_what_was_signed_is_genuine_and_nothing_else(
    kind: Kind, body: bytes, secret: str, at: int, other: bytes
) -> None:
    """Law: a body counts if and only if its own digest comes with it."""
    prefix = f"{at}.".encode() if kind == "stripe" else b""
    digest = hmac.new(secret.encode("utf-8", "replace"), prefix + body, sha256)
    text = base64.b64encode(digest.digest()).decode()
    headers = {
        "x-shopify-hmac-sha256": text,
        "x-wc-webhook-signature": text,
        "stripe-signature": f"t={at},v1={digest.hexdigest()}",
    }
    assert genuine(kind, headers, body, (secret,), at)
    assert genuine(kind, headers, other, (secret,), at) == (other == body)
