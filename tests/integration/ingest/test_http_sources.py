"""Vendors' webhooks: verified, acknowledged, mapped; refused ones are dead letters."""

import base64
import hmac
import json
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.ingest.inbound.mapping_files import read_mapping
from shared.contracts.activity import DECODER
from shared.contracts.dead_letter import DeadLetter
from shared.contracts.headers import SOURCE
from tests.integration.ingest.running import Running, ServiceEnvironment, ingest
from tests.unit.ingest.mapping.corpus import corpora

pytestmark = pytest.mark.stack

OLD, NEW, WOO = "shpss_0123456789abcdef", "shpss_fedcba9876543210", "wc_0123456789abcdef"
SETTINGS = {
    "EBBWATCH_INGEST_HTTP_SOURCES": json.dumps(
        {
            "shop-eu": {"signature": "shopify", "secrets": [OLD, NEW]},
            "woo": {"signature": "woocommerce", "secrets": [WOO]},
        }
    )
}
INDEXED = 'ebbwatch_ingest_dead_letters_indexed_total{stage="ingest"}'


def records(source: str) -> dict[str, Any]:
    """Return a source's samples by name."""
    (corpus,) = [corpus for corpus in corpora() if corpus.mapping == source]
    return dict(corpus.records)


async def post(
    service: Running, name: str, body: bytes, secret: str | None = None, **headers: str
) -> httpx.Response:
    """Post a body, signed with a secret; `_` in header names stands for `-`."""
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    if secret is not None:
        digest = base64.b64encode(hmac.digest(secret.encode(), body, sha256)).decode()
        given |= {"X-Shopify-Hmac-Sha256": digest, "X-WC-Webhook-Signature": digest}
    async with httpx.AsyncClient() as client:
        url = f"{service.url}/v1/sources/{name}"
        return await client.post(url, content=body, headers=given)


async def test_signed_webhooks_become_events(place: ServiceEnvironment) -> None:
    """With either secret of a rotation, for each shop by its own mapping, 200 once acknowledged."""
    order = json.dumps(records("shopify")["order"], indent=1).encode()
    ignored = b'{"test": true, "line_items": [{}]}'
    async with ingest(place, SETTINGS) as service:
        for secret in (OLD, NEW):
            answer = await post(service, "shop-eu", order, secret, X_Shopify_Topic="orders/create")
            assert (answer.status_code, answer.json()["accepted"]) == (200, 1), answer.text
        nothing = await post(service, "shop-eu", ignored, OLD)
        assert (nothing.status_code, nothing.json()["ignored"]) == (200, 1)
        assert (await post(service, "woo", b"webhook_id=7")).status_code == 200
        line = 'ebbwatch_ingest_http_records_total{outcome="accepted",source="shop-eu"}'
        assert await service.metric(line) == 2
        raw = await place.read(place.raw, 2)
        activity = await place.read(place.activity, 2)
    assert {record.value for record in raw} == {order}
    assert {record.headers for record in raw} == {
        ((SOURCE, b"shop-eu"), ("x-shopify-topic", b"orders/create"))
    }
    assert {DECODER.decode(r.value or b"").id for r in activity} == {"order-5551001"}


async def test_strangers_learn_nothing(place: ServiceEnvironment) -> None:
    """An unknown source, a wrong signature and none are answered alike, and nothing is kept."""
    order = json.dumps(records("shopify")["order"]).encode()
    async with ingest(place, SETTINGS) as service:
        answers = [
            await post(service, "nowhere", order, OLD),
            await post(service, "nowhere", order),
            await post(service, "shop-eu", order),
            await post(service, "shop-eu", order, WOO),
            await post(service, "shop-eu", b"{", WOO),
            await post(service, "woo", order, OLD),
            await post(service, "woo", b"webhook_id=7&x=1"),
        ]
        assert {
            (x.status_code, x.text, str(x.headers.get("www-authenticate"))) for x in answers
        } == {(401, answers[0].text, "Bearer")}
        pings = [
            await post(service, name, b"webhook_id=7") for name in ("woo", "shop-eu", "nowhere")
        ]
        assert {(ping.status_code, ping.text) for ping in pings} == {(200, "{}")}
        digest = base64.b64encode(hmac.digest(OLD.encode(), order, sha256)).decode()
        header = "X-Shopify-Hmac-Sha256"
        async with httpx.AsyncClient() as client:
            url = f"{service.url}/v1/sources/shop-eu"
            for both in ([(header, digest), (header, "x")], [(header, "x"), (header, digest)]):
                twice = await client.post(url, content=order, headers=both)
                assert (twice.status_code, twice.text) == (401, answers[0].text)
        large = await post(service, "shop-eu", b" " * (1024 * 1024 + 1), OLD)
        assert large.status_code == 413
        zipped = await post(service, "shop-eu", order, OLD, content_encoding="gzip")
        assert zipped.status_code == 415
        assert await service.stop() == 0
    for topic in (place.raw, place.activity, place.dead_letter):
        assert await place.read(topic, 0) == []


CART = """
  - rule: cart
    match: cart
    type: interaction
    id: concat('cart-', cart)
    time: arrived()
    customer: {value: c-1}
    kind: {value: cart}
"""


async def test_refused_records_are_dead_letters_and_replay(
    place: ServiceEnvironment, tmp_path: Path
) -> None:
    """A vendor's is answered 200, since it is kept; one with a token 422. Both are replayed."""
    async with ingest(place, SETTINGS) as service:
        signed = await post(service, "shop-eu", b'{"cart": 1}', OLD)
        assert (signed.status_code, signed.json()["accepted"]) == (200, 0)
        assert "no rule" in signed.json()["refused"][0]["reason"]
        token = (
            await place.command("tokens", "create", "--name", "t", "--scope", "events:write")
        ).strip()
        bearer = {"Authorization": f"Bearer {token}"}
        refused = await post(service, "shop-eu", b'[{"cart": 2}]', **bearer)
        assert (refused.status_code, refused.json()["refused"][0]["index"]) == (422, 0)
        assert (await post(service, "nowhere", b"{}", **bearer)).status_code == 404
        broken = await post(service, "shop-eu", b'[{"cart": 3}', **bearer)
        assert broken.status_code == 422
        await service.reaches(INDEXED, 3)
        found = await place.read(place.dead_letter, 3)
        letters = {r.value: DeadLetter.from_record(r.key, r.value, r.headers) for r in found}
        assert {dict(x.original_headers)[SOURCE] for x in letters.values()} == {b"shop-eu"}
        assert letters[b'{"cart": 2}'].origin.topic == "POST /v1/sources/shop-eu"
        mended = tmp_path / "shopify.yaml"
        mended.write_text(read_mapping("shopify")[0] + CART)
        mended_at = datetime.now(UTC)
        await place.command("mappings", "put", str(mended), "--http", "shop-eu")
        await service.reaches('ebbwatch_ingest_mapping_version{mapping="shopify"}', 1)
        await place.command("dead-letters", "replay", "--all", "--field", "match")
        activity = await place.read(place.activity, 2)
        again = await post(service, "shop-eu", b'{"cart": 4}', OLD)
        assert again.json()["accepted"] == 1
    events = {each.id: each for each in (DECODER.decode(r.value or b"") for r in activity)}
    assert set(events) == {"cart-1", "cart-2"}
    for event in events.values():
        assert event.time < mended_at, "the time of arrival is that of the first one"
        assert event.receivedms > mended_at.timestamp() * 1000


async def test_a_mistake_in_the_setting_ends_the_start(place: ServiceEnvironment) -> None:
    """The message names the place and no secret; see the process's log."""
    wrong = {"EBBWATCH_INGEST_HTTP_SOURCES": '{"a": {"signature": "stripe", "secrets": ["x"]}}'}
    with pytest.raises(AssertionError, match="ended by itself"):
        async with ingest(place, wrong):
            pass
