"""One person, two ids, one customer: on the real services, by the ways that people use."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.services_on_history import World

pytestmark = [pytest.mark.timeout(400), pytest.mark.identity]

NOW = datetime.now(UTC).replace(microsecond=0)
WEEKS = 20
"""Purchases, one a week until 17 days ago: half under one id, half under another."""


def _at(number: int) -> str:
    return (NOW - timedelta(days=17 + 7 * (WEEKS - 1 - number))).isoformat()


@dataclass(slots=True)
class _Story:
    world: World
    client: httpx.AsyncClient
    bearer: dict[str, dict[str, str]]

    async def post(self, path: str, body: Any) -> None:
        """Post to ingest, and wait until everything was processed."""
        url, headers = self.world.services.url("ingest") + path, self.bearer["ingest"]
        answer = await self.client.post(url, json=body, headers=headers)
        assert answer.status_code in {200, 202}, answer.text
        await self.world.settled()

    async def get(self, path: str) -> Any:
        """Read from scoring."""
        url = self.world.services.url("scoring") + path
        answer = await self.client.get(url, headers=self.bearer["scoring"])
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def assessed(self, customer: str, purchases: int) -> Any:
        """Return a customer, once the assessment is of so many purchases."""
        found: list[Any] = []

        async def done() -> bool:
            found[:] = [await self.get(f"/v1/customers/{customer}")]
            return bool(
                found[0]["features"] and found[0]["features"]["purchases"] == purchases
                and found[0]["assessment"]
            )  # fmt: skip

        await self.world.services.wait(done, f"the assessment of {customer}", 60.0)
        await self.world.settled()
        return found[0]

    async def open_tasks(self) -> list[str]:
        """Return the customer of each open task."""
        return [row[0] for row in await self.world.tasks() if row[4] == "open"]

    async def one_customer(self, primary: str, other: str) -> None:
        """By either id it is the one customer, with one rhythm, one task, and both halves."""
        for asked in (primary, other):
            found = await self.assessed(asked, WEEKS)
            assert found["customer_id"] == primary
            assert {one["id"] for one in found["ids"]} == {primary, other}
            assert found["features"]["gap_mean_days"] == pytest.approx(7, abs=0.01)
        listed = (await self.get("/v1/customers"))["items"]
        assert [row["customer_id"] for row in listed] == [primary]
        history = (await self.get(f"/v1/customers/{other}/history"))["items"]
        assert {item["customer_id"] for item in history} == {primary, other}
        assert await self.open_tasks() == [primary]

    async def two_customers(self, one: str, two: str) -> None:
        """Each has its own half, and answers for itself."""
        for each in (one, two):
            found = await self.assessed(each, WEEKS // 2)
            assert found["customer_id"] == each
            assert [found["id"] for found in found["ids"]] == [each]


async def _stories(world: World, client: httpx.AsyncClient) -> _Story:
    create = ("tokens", "create", "--name", "t", "--scope", "admin")
    bearer = {
        service: {"Authorization": f"Bearer {world.services.command(service, *create).strip()}"}
        for service in ("ingest", "scoring")
    }
    return _Story(world, client, bearer)


def _order(number: int, **who: str) -> dict[str, Any]:
    """Build Segment's call of a completed order."""
    return who | {
        "type": "track", "event": "Order Completed", "messageId": f"m-{number}",
        "timestamp": _at(number), "originalTimestamp": _at(number),
        "properties": {"order_id": f"o-{number}", "total": 20, "currency": "USD"},
    }  # fmt: skip


async def test_an_anonymous_visitor_becomes_known(folder: Path, environ: dict[str, str]) -> None:
    """Segment: orders of a browser, then of a person; `identify` says that they are one."""
    async with (
        World.open(folder, environ, clock="live") as world,
        httpx.AsyncClient(timeout=30) as client,
    ):
        story = await _stories(world, client)
        half = WEEKS // 2
        orders = [_order(n, anonymousId="anon-77") for n in range(half)]
        orders += [_order(n, userId="user-77") for n in range(half, WEEKS)]
        await story.post("/v1/batch", {"batch": orders})
        await story.two_customers("anon-77", "user-77")
        assert await story.open_tasks() == ["user-77"], "the browser is given up as gone"

        call = {"userId": "user-77", "anonymousId": "anon-77", "traits": {"name": "Mo"}}
        await story.post("/v1/identify", call)
        await story.one_customer("user-77", "anon-77")

        world.services.command("scoring", "identities", "unlink", "anon-77")
        await world.settled()
        await story.two_customers("anon-77", "user-77")


async def test_an_online_buyer_has_a_store_card(folder: Path, environ: dict[str, str]) -> None:
    """Half of the purchases come from the web account, half with the store card."""
    async with (
        World.open(folder, environ, clock="live") as world,
        httpx.AsyncClient(timeout=30) as client,
    ):
        story = await _stories(world, client)
        past = [
            {
                "specversion": "1.0", "type": "io.ebbwatch.purchase", "source": "/shop",
                "id": f"o-{n}", "subject": "mo-web" if n % 2 else "mo-store", "time": _at(n),
                "data": {"amount": "20.50", "currency": "USD"},
            }
            for n in range(WEEKS)
        ]  # fmt: skip
        await story.post("/v1/events", past)
        await story.two_customers("mo-web", "mo-store")
        assert await story.open_tasks() == [], "each half seems to buy every other week"
        link = {"customer": "mo-web", "ids": ["mo-store"], "primary": "mo-web"}
        await story.post("/v1/identities", link)
        await story.one_customer("mo-web", "mo-store")
        shown = world.services.command("scoring", "identities", "show", "mo-store")
        assert "primary  mo-web: 1" in shown
        assert "also     mo-store: 10 events" in shown
        world.services.command("scoring", "identities", "unlink", "mo-store")
        await world.settled()
        await story.two_customers("mo-web", "mo-store")
