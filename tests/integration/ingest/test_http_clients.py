"""Official clients of other systems speak to the running service: Segment's and Stripe's."""

import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from shared.contracts.activity import DECODER, Activity
from tests.consumers import running
from tests.integration.ingest.running import ServiceEnvironment, ingest
from tests.unit.ingest.mapping.corpus import corpora

pytestmark = pytest.mark.stack

STRIPE_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
SOURCES = {"pay": {"signature": "stripe", "secrets": [STRIPE_SECRET]}}

ORDER = {"order_id": "o-1", "total": 42.5, "currency": "usd", "products": [{"sku": "a"}]}
NODE = [
    ["identify", {"userId": "n-1", "traits": {"name": "Ada"}}],
    ["track", {"userId": "n-1", "event": "Order Completed", "properties": ORDER}],
    ["track", {"userId": "n-1", "event": "Product Viewed", "timestamp": "2026-03-01T09:00:00Z"}],
    ["page", {"anonymousId": "n-2", "name": "Home"}],
    ["screen", {"userId": "n-1", "name": "Basket"}],
    ["group", {"userId": "n-1", "groupId": "g-1", "traits": {"name": "Acme"}}],
    ["alias", {"userId": "n-1", "previousId": "n-2"}],
]
PYTHON = [
    ["identify", {"user_id": "p-1", "traits": {"name": "Ada"}}],
    ["track", {"user_id": "p-1", "event": "Order Completed", "properties": ORDER}],
    ["track", {"user_id": "p-1", "event": "Viewed", "timestamp": "2026-03-01T09:00:00+00:00"}],
    ["page", {"anonymous_id": "p-2", "name": "Home"}],
    ["screen", {"user_id": "p-1", "name": "Basket"}],
    ["group", {"user_id": "p-1", "group_id": "g-2", "traits": {"name": "Acme"}}],
    ["alias", {"previous_id": "p-2", "user_id": "p-1"}],
]
KINDS = ["identity", *["interaction"] * 3, "profile", "profile", "purchase"]
"""What either list becomes: an alias; a view, a page, a screen; a person, an account; an order."""


async def _token(place: ServiceEnvironment, scope: str = "events:write") -> str:
    shown = await place.command("tokens", "create", "--name", scope, "--scope", scope)
    return shown.strip()


async def _events(place: ServiceEnvironment, count: int) -> list[Activity]:
    found = await place.read(place.activity, count)
    return [DECODER.decode(record.value or b"") for record in found]


async def test_segments_library_for_node(place: ServiceEnvironment) -> None:
    """Every kind of call is delivered and becomes its event; a false key is a failure for it."""
    async with ingest(place) as service:
        given = {"host": service.url, "writeKey": await _token(place), "calls": NODE}
        assert await running.node("segment_node.js", given=given) == [True] * len(NODE)
        found = await _events(place, len(KINDS))
        reader = await _token(place, "customers:read")
        for key in ("ebw_made-up", reader):
            refused = await running.node("segment_node.js", given=given | {"writeKey": key})
            assert refused == [False] * len(NODE)
        no_customer = [["track", {"userId": "undefined", "event": "Viewed"}]]
        assert await running.node("segment_node.js", given=given | {"calls": no_customer}) == [
            False
        ]
    assert sorted(event.type.rpartition(".")[2] for event in found) == KINDS
    (order,) = [event for event in found if event.type.endswith("purchase")]
    assert (order.subject, order.id, order.data.amount) == ("n-1", "order-o-1", 42.5)
    (viewed,) = [event for event in found if event.data.kind == "product_viewed"]
    assert f"{viewed.time:%F %H:%M}" == "2026-03-01 09:00", "but for the time on the way"


@pytest.mark.parametrize("gzip", [False, True])
async def test_segments_library_for_python(place: ServiceEnvironment, *, gzip: bool) -> None:
    """The same in Python, compressed or not; what is refused is named in its own words."""
    async with ingest(place) as service:
        given = {"host": service.url, "writeKey": await _token(place), "gzip": gzip}
        assert await running.python("segment_sdk.py", given=given | {"calls": PYTHON}) == []
        found = await _events(place, len(KINDS))
        no_customer = [["track", {"user_id": "undefined", "event": "Viewed"}]]
        (said,) = await running.python("segment_sdk.py", given=given | {"calls": no_customer})
    assert "invalid_request: [0] subject" in said
    assert sorted(event.type.rpartition(".")[2] for event in found) == KINDS


@pytest.mark.parametrize(
    ("run", "script"), [(running.python, "stripe_sdk.py"), (running.node, "stripe_node.js")]
)
async def test_stripes_libraries_sign(
    place: ServiceEnvironment, run: Callable[..., Awaitable[Any]], script: str
) -> None:
    """What they sign is taken, and nothing that was changed or is old."""
    (stripe,) = [corpus for corpus in corpora() if corpus.mapping == "stripe"]
    body = json.dumps(stripe.records["invoice"], ensure_ascii=False)
    settings = {"EBBWATCH_INGEST_HTTP_SOURCES": json.dumps(SOURCES)}
    async with ingest(place, settings) as service, httpx.AsyncClient() as client:

        async def post(sent: str, at: int) -> httpx.Response:
            signed = {"secret": STRIPE_SECRET, "at": at, "body": body}
            header = await run(script, given=signed)
            return await client.post(
                f"{service.url}/v1/sources/pay",
                content=sent.encode(),
                headers={"Stripe-Signature": header, "Content-Type": "application/json"},
            )

        now = int(time.time())
        good = await post(body, now)
        assert (good.status_code, good.json()["accepted"]) == (200, 1), good.text
        assert (await post(body + " ", now)).status_code == 401
        found = await _events(place, 1)
    assert [event.type.rpartition(".")[2] for event in found] == ["purchase"]
