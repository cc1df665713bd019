"""The attack from the other side: alerts' deliveries get hostile answers.

Endpoints of every kind are at one receiver. Some are tried out by an administrator, each sample
judged by the answer that it got; the others get the neighbour's tasks through the sender's queues,
and are enabled again whenever an answer has switched them off.
"""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import httpx

from services.alerts.delivery.core.endpoint import Kind
from tests.fakes.crm.zoho import FakeZoho
from tests.hostile.environment import HostileEnvironment
from tests.hostile.receiver import Given, Receiver, receiving
from tests.integration.crm.connector_kit import SECRETS, config

KINDS: Final[tuple[Kind, ...]] = (
    "webhook", "webhook", "zoho", "fxiaoke", "wecom_bot", "wecom_app",
)  # fmt: skip
SAMPLED: Final = 2
"""Endpoints of each of `KINDS` that are tried out at once."""
PAUSE_S: Final = 0.05
"""Seconds after a sample that led to no request, as when a vendor's quota of tokens is used up."""
TRY_S_MAX: Final = 600.0
"""Seconds for all samples of a run together."""
PAGE: Final = 200


@dataclass(slots=True)
class Remote:
    """Endpoints at a receiver, and their results."""

    receiver: Receiver
    client: httpx.AsyncClient
    sampled: list[str] = field(default_factory=list)
    lanes: list[str] = field(default_factory=list)
    results: Counter[str] = field(default_factory=Counter)
    """Results of samples under attack, by the service's interpretation of the answer."""
    wrong: list[str] = field(default_factory=list)
    enabled: int = 0
    """Endpoints that an answer switched off and that were enabled again."""

    async def make(self) -> None:
        """Make the endpoints; the receiver answers well meanwhile."""
        for place, kind in enumerate(KINDS):
            self.lanes.append(await self._made(f"lane-{place}", kind, {}))
            for number in range(SAMPLED):
                nobody = {"route": {"owner_ids": ["nobody"]}}
                self.sampled.append(await self._made(f"tried-{place}-{number}", kind, nobody))

    async def _made(self, name: str, kind: Kind, more: dict[str, Any]) -> str:
        self.receiver.kinds[name] = kind
        body: dict[str, Any] = {"id": name, "kind": kind} | more
        if kind == "webhook":
            body["url"] = self.receiver.url(name)
        else:
            body["config"] = config(
                kind, FakeZoho(url=self.receiver.url(name)), fallback_owner="777"
            )
            body["secrets"] = SECRETS[kind]
        made = await self.client.post("/v1/endpoints", json=body)
        assert made.status_code == 201, made.text
        return name

    async def attack(self, answers: int) -> None:
        """Attack until so many hostile answers were given."""
        self.receiver.attacks = True
        helping = asyncio.create_task(self._enable())
        try:
            await self._try_out(lambda: self.receiver.by_kind.total() < answers)
        finally:
            helping.cancel()
            await asyncio.gather(helping, return_exceptions=True)
            self.receiver.attacks = False
        await self._enable_once()
        await self._judge_lanes()

    async def calm(self, seconds: float) -> None:
        """Use the same endpoints and samples, answered well."""
        end = time.monotonic() + seconds
        await self._try_out(lambda: time.monotonic() < end)

    async def _try_out(self, more: Callable[[], bool]) -> None:
        async with asyncio.timeout(TRY_S_MAX):
            await asyncio.gather(*(self._samples(name, more) for name in self.sampled))

    async def _samples(self, name: str, more: Callable[[], bool]) -> None:
        while more():
            given = self.receiver.given.setdefault(name, [])
            before, attacks = len(given), self.receiver.attacks
            answer = await self.client.post(f"/v1/endpoints/{name}/test")
            if answer.status_code != 200:
                self.wrong.append(f"a sample to {name}: HTTP {answer.status_code}")
                continue
            found = answer.json()
            if attacks:
                self.results[found["result"]] += 1
            new = given[before:]
            given.clear()
            self._judge(name, found, new)
            if not new:
                await asyncio.sleep(PAUSE_S)

    def _judge(self, name: str, found: dict[str, Any], given: list[Given]) -> None:
        """Check that the service read the answers as the harness does."""
        ok = found["result"] == "ok"
        shown = f"{name}: read as {found['result']} ({found['error']}) after {given}"
        if ok and not any(each.succeeds for each in given):
            self.wrong.append(f"taken for a success: {shown}")
        sure = given and all(each.clear and each.succeeds for each in given)
        if sure and not ok and self.receiver.kinds[name] == "webhook":
            self.wrong.append(f"a success not understood: {shown}")
        if "a fault of ours" in (found["error"] or ""):
            self.wrong.append(f"a fault of ours: {shown}")

    async def _enable(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            with contextlib.suppress(httpx.TransportError):
                await self._enable_once()

    async def _enable_once(self) -> None:
        listed = (await self.client.get("/v1/endpoints")).json()
        for endpoint in listed["items"]:
            if endpoint["disabled_at"] is not None:
                await self.client.post(f"/v1/endpoints/{endpoint['id']}/enable")
                self.enabled += 1

    async def _judge_lanes(self) -> None:
        """Check that a message counts as delivered only after a success, and is not sent again
        after one."""
        for name in self.lanes:
            if self.receiver.kinds[name] != "webhook":
                continue
            given: dict[str, list[Given]] = {}
            for each in self.receiver.given.get(name, ()):
                given.setdefault(each.message, []).append(each)
            for message, answers in given.items():
                if sum(each.clear and each.succeeds for each in answers) > 1:
                    self.wrong.append(f"{name}: {message} sent again after a success")
            for message in await self._delivered(name):
                if not any(each.succeeds for each in given.get(message, ())):
                    self.wrong.append(f"{name}: {message} counts as delivered without a success")

    async def _delivered(self, endpoint: str) -> list[str]:
        found: list[str] = []
        query = {"endpoint": endpoint, "status": "delivered", "limit": str(PAGE)}
        while True:
            page = (await self.client.get("/v1/deliveries", params=query)).json()
            found += [item["id"] for item in page["items"]]
            if page["next"] is None:
                return found
            query["cursor"] = page["next"]


@asynccontextmanager
async def remote(environment: HostileEnvironment, seed: int) -> AsyncIterator[Remote]:
    """Runs endpoints of every kind at a receiver that answers well until the attack."""
    headers = {"Authorization": f"Bearer {environment.tokens['alerts']}"}
    url = environment.services.url("alerts")
    async with (
        receiving(seed) as receiver,
        httpx.AsyncClient(base_url=url, headers=headers, timeout=60) as client,
    ):
        made = Remote(receiver, client)
        await made.make()
        yield made
