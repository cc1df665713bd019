"""Signatures: the golden vector of Standard Webhooks, and what a key must be."""

import base64
from datetime import UTC, datetime

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from services.alerts.core.signature import headers, key_of
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
