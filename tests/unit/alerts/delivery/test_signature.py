"""Signatures: the golden vector of Standard Webhooks, and the requirements of a key."""

import base64
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from standardwebhooks import Webhook, WebhookVerificationError

from services.alerts.delivery.core.signature import (
    asymmetric,
    check,
    headers,
    key_of,
    public_key,
)
from shared.kernel.errors import Invalid
from shared.runtime.clock import SystemClock

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = "whsec_" + base64.b64encode(bytes(range(32))).decode()


def test_golden_vector() -> None:
    made = headers(
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        datetime.fromtimestamp(1614265330, UTC),
        b'{"test": 2432232314}',
        [SECRET],
    )
    assert made == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_any_of_several_secrets_verifies_and_no_other() -> None:
    body = '{"reason":"现已 31 天未购买"}'.encode()
    made = headers("msg_1", SystemClock().now(), body, [SECRET, OTHER])
    for secret in (SECRET, OTHER):
        Webhook(secret).verify(body, made)
    assert made["webhook-signature"].count(" ") == 1
    with pytest.raises(WebhookVerificationError):
        Webhook("whsec_" + base64.b64encode(bytes(32)).decode()).verify(body, made)
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(body + b" ", made)


@pytest.mark.parametrize("size", [24, 64])
def test_keys_within_the_bounds(size: int) -> None:
    assert key_of("whsec_" + base64.b64encode(bytes(size)).decode()) == bytes(size)


@pytest.mark.parametrize(
    "secret",
    [
        SECRET.removeprefix("whsec_"),
        "whsec_not base64!",
        "whsec_" + base64.b64encode(bytes(23)).decode(),
        "whsec_" + base64.b64encode(bytes(65)).decode(),
    ],
)
def test_what_is_no_key_is_refused_without_being_repeated(secret: str) -> None:
    with pytest.raises(Invalid) as refused:
        key_of(secret)
    assert secret.removeprefix("whsec_") not in str(refused.value)


def test_golden_vector_of_v1a() -> None:
    """It is signed as Svix's server signs, and verified by the cryptography package."""
    pair = base64.b64decode(
        "6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg=="
    )
    secret = asymmetric(pair[:32])
    assert secret == "whsk_" + base64.b64encode(pair).decode()
    assert public_key(secret) == "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="
    body, at = b'{"test": 2432232314}', datetime.fromtimestamp(1614265330, UTC)
    made = headers("msg_p5jXN8AQM9LWM0D4loKWxJek", at, body, [secret])
    assert made["webhook-signature"] == (
        "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+"
        "m7TBAg=="
    )
    verifier = Ed25519PublicKey.from_public_bytes(pair[32:])
    signed = b"msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330." + body
    verifier.verify(base64.b64decode(made["webhook-signature"][4:]), signed)


@pytest.mark.parametrize(
    "secret", ["whsk_not base64!", "whsk_" + base64.b64encode(bytes(31)).decode(), "other_x"]
)
def test_what_is_no_secret_of_either_scheme_is_refused(secret: str) -> None:
    with pytest.raises(Invalid):
        check(secret)
