"""A person who asks to be forgotten is: on the real services, in every table, topic and log."""

import asyncio
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from tests.e2e.services_on_history import World

pytestmark = [pytest.mark.timeout(400), pytest.mark.erasure]

NAME, PHONE, CUSTOMER = "Ottilie Quastenberg", "+49-171-5550199", "quast-77"
EMAIL, BORN = "ottilie@quastenberg.example", "1961-07-19"
PLANTED = (NAME, PHONE, CUSTOMER, EMAIL, BORN)
NOW = datetime.now(UTC).replace(microsecond=0)
DONE_S_MAX = 90.0
"""Seconds until every service is done: two loops look every 30 and 60 seconds."""


LOGS = {"ingest.log", "scoring.log", "alerts.log", "commands.log"}
MARK = "eras"
"""In each of these logs once a person was forgotten: that was logged, and is read here."""


def _event(type_: str, number: str, at: datetime, **data: Any) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "type": f"io.ebbwatch.{type_}",
        "source": "/shop",
        "id": number,
        "subject": CUSTOMER,
        "time": at.isoformat(),
        "data": data,
    }


def _purchase(number: int, at: datetime) -> dict[str, Any]:
    return _event("purchase", f"order-{number}", at, amount="20.50", currency="USD")


PAST = [
    *(_purchase(n, NOW - timedelta(days=17 + 7 * (19 - n))) for n in range(20)),
    _event("profile", "p-1", NOW - timedelta(days=2), name=NAME,
           birthday=BORN, contacts=[{"name": NAME, "phone": PHONE, "email": EMAIL}],
           attributes={"note": f"call {PHONE}"}),
    _event("feedback", "f-1", NOW - timedelta(days=3), kind="complaint_opened",
           text=f"{NAME} is angry, call {PHONE}"),
]  # fmt: skip
"""A regular buyer who has stopped, and who has complained."""


async def _found_in_tables(url: str) -> list[str]:
    """Return the tables with one of the planted values, as text or within bytes."""
    connection = await asyncpg.connect(url)
    try:
        tables = await connection.fetch(
            "SELECT schemaname AS s, tablename AS t FROM pg_tables "
            "WHERE schemaname IN ('scoring', 'alerts', 'ingest')"
        )
        found = []
        for table in tables:
            name = f"{table['s']}.{table['t']}"
            query = f"SELECT count(*) FROM {name} x WHERE x::text ILIKE ANY($1::text[])"  # noqa: S608
            texts = [*PLANTED, *(value.encode().hex() for value in PLANTED)]
            if await connection.fetchval(query, [f"%{text}%" for text in texts]):
                found.append(name)
        return found
    finally:
        await connection.close()


def _logged(folder: Path, *tokens: str) -> list[str]:
    """Return the logs with a name, a number, an address or the birthday of the person, or a token.

    The customer's id is none of these: logs name records by it.
    """
    # Kafka's data are files of this name, too.
    logs = [log for log in folder.rglob("*.log") if "data" not in log.relative_to(folder).parts]
    texts = {log.name: log.read_text("utf-8", "replace") for log in logs}
    for name in LOGS:
        assert MARK in texts[name], f"{name} has what is logged of a request or a command"
    secret = (NAME, PHONE, EMAIL, BORN, *tokens)
    return [name for name, text in texts.items() if any(word in text for word in secret)]


async def _newest(world: World, topic: str) -> list[bytes | None]:
    """Return the values of the customer in a topic, oldest first."""
    consumer = AIOKafkaConsumer(bootstrap_servers=world.stack.kafka.settings.bootstrap_servers)
    await consumer.start()
    try:
        parts = [TopicPartition(topic, n) for n in consumer.partitions_for_topic(topic) or ()]
        if not parts:
            parts = [TopicPartition(topic, n) for n in range(6)]
        consumer.assign(parts)
        await consumer.seek_to_beginning(*parts)
        ends = await consumer.end_offsets(parts)
        values: list[bytes | None] = []
        while any([await consumer.position(tp) < ends[tp] for tp in parts]):
            for records in (await consumer.getmany(timeout_ms=500)).values():
                values += [r.value for r in records if r.key == CUSTOMER.encode()]
        return values
    finally:
        await consumer.stop()


async def _all_done(
    world: World, request: str, bearer: dict[str, dict[str, str]]
) -> dict[str, dict[str, Any]]:
    """Return what each service answers about a request, once all are done."""
    deadline = asyncio.get_running_loop().time() + DONE_S_MAX
    async with httpx.AsyncClient(timeout=30) as client:
        while True:
            shown = {
                service: (
                    await client.get(
                        world.services.url(service) + f"/v1/erasures/{request}", headers=headers
                    )
                ).json()
                for service, headers in bearer.items()
            }
            if all(each.get("state") == "done" for each in shown.values()):
                return shown
            assert asyncio.get_running_loop().time() < deadline, shown
            await asyncio.sleep(1)


@dataclass(slots=True)
class _Story:
    """The services, with a token for each, and what the person did."""

    world: World
    client: httpx.AsyncClient
    bearer: dict[str, dict[str, str]]

    async def post(self, path: str, body: Any) -> httpx.Response:
        """Post to ingest, and wait until everything was processed."""
        url, headers = self.world.services.url("ingest") + path, self.bearer["ingest"]
        answer = await self.client.post(url, json=body, headers=headers)
        await self.world.settled()
        return answer

    async def has_a_task(self) -> None:
        """Publish the person's past; one record is refused."""
        assert (await self.post("/v1/events", PAST)).status_code == 202
        assert [row[0] for row in await self.world.tasks()] == [CUSTOMER]
        broken = _event("purchase", "bad-1", NOW, amount="a lot", currency="USD")
        assert (await self.post("/v1/events", [broken])).status_code == 422
        indexed = "ebbwatch_ingest_dead_letters_indexed_total"

        async def listed() -> bool:
            return await self.world.services.counted("ingest", indexed) > 0

        await self.world.services.wait(listed, "the dead letter to be indexed", DONE_S_MAX)
        found = set(await _found_in_tables(self.world.database_url))
        assert {
            "ingest.dead_letter",
            "scoring.customer_state",
            "scoring.profile",
            "alerts.task",
        } <= found

    async def is_asked_for_in_vain(self) -> None:
        """Requests and commands that fail or find nothing, with what is not to be logged."""
        paths = (
            f"/v1/customers/{NAME}", f"/v1/customers?owner={EMAIL}&cursor={NAME}", f"/{NAME}",
            f"/v1/exports/{PHONE}", f"/v1/tasks?customer_id={EMAIL}", f"/v1/erasures/{NAME}",
            f"/v1/wishes?customer_id={NAME}",
        )  # fmt: skip
        bodies = (f'{{"{CUSTOMER}": "{NAME}"', f'{{"{CUSTOMER}": ["{NAME}", "{PHONE}"]}}')
        for service, headers in self.bearer.items():
            url = self.world.services.url(service)
            for path in paths:
                await self.client.get(url + path, headers=headers)
                await self.client.get(url + path, headers={"Authorization": f"Bearer {NAME}"})
            for body in bodies:
                for path in ("/v1/events", "/v1/erasures", "/v1/identities", "/v1/segments"):
                    sent = {**headers, "Content-Type": "application/json"}
                    await self.client.post(url + path, content=body, headers=sent)
            self.world.services.command(service, "audit", "list", "--customer", NAME)
        self.world.services.command("alerts", "wishes", NAME)

    async def is_forgotten(self) -> None:
        """Request it over HTTP and by the command; all report it, and nothing is found any more."""
        asked = await self.post("/v1/erasures", {"customer_id": CUSTOMER})
        assert asked.status_code == 202, asked.text
        request = asked.json()["request_id"]
        printed = self.world.services.command("ingest", "erase", CUSTOMER)
        (again,) = re.findall("[0-9a-f]{32}", printed.splitlines()[0])
        await _all_done(self.world, again, self.bearer)
        shown = await _all_done(self.world, request, self.bearer)
        rows = {service: each["rows"] for service, each in shown.items()}
        assert (rows["scoring"]["event"], rows["scoring"]["customer_state"]) == (22, 1)
        assert rows["alerts"]["task"] == 1
        assert rows["ingest"]["dead_letter"] >= 1
        assert {each["topic"] for each in shown["ingest"]["ages_out"]} >= {"ebbwatch.raw"}
        printed = self.world.services.command("scoring", "erasures", "show", request)
        assert "scoring: done" in printed
        changes = self.world.services.command("ingest", "audit", "list", "--customer", CUSTOMER)
        assert "POST /v1/erasures" in changes, "found by the customer's mark"
        assert CUSTOMER not in changes, "the request's content is not kept"
        changes = self.world.services.command("ingest", "audit", "list", "--action", "erasures")
        assert "POST /v1/erasures" in changes
        assert "202" in changes
        assert await _found_in_tables(self.world.database_url) == []
        assert (await _newest(self.world, "ebbwatch.risk"))[-1] is None

    async def task_has_ended(self) -> None:
        """The task stays without the person; the CRM got its end without a name."""
        (closed,) = await self.world.tasks()
        assert (closed[4], closed[-1]) == ("closed", "erased")
        assert closed[0].startswith("erased-")
        last = (await self.world.received())[-1].message
        assert last.task.id == closed[1]
        assert NAME not in repr(last)

    async def stays_forgotten(self) -> None:
        """Publish the past again, and more from before."""
        late = _event("feedback", "f-2", NOW - timedelta(minutes=30), kind="complaint_opened")
        await self.post("/v1/events", [*PAST, late])
        assert (await self.world.states())[0] == []
        assert await _found_in_tables(self.world.database_url) == []

    async def comes_back(self) -> None:
        """A purchase of today makes a new customer."""
        await self.post("/v1/events", [_purchase(99, datetime.now(UTC))])
        url = self.world.services.url("scoring") + f"/v1/customers/{CUSTOMER}"
        answer = await self.client.get(url, headers=self.bearer["scoring"])
        assert answer.status_code == 200, answer.text
        assert NAME not in answer.text


async def test_a_person_who_asks_is_forgotten_everywhere(
    folder: Path, environ: dict[str, str]
) -> None:
    """The task closes, the data go, what arrives again stays out, and the person may come back."""
    async with (
        World.open(folder, environ, clock="live", own_roles=True) as world,
        httpx.AsyncClient(timeout=30) as client,
    ):
        create = ("tokens", "create", "--name", "t", "--scope", "admin")
        bearer = {
            service: {"Authorization": f"Bearer {world.services.command(service, *create).strip()}"}
            for service in ("ingest", "scoring", "alerts")
        }
        story = _Story(world, client, bearer)
        await story.has_a_task()
        await story.is_asked_for_in_vain()
        await story.is_forgotten()
        await story.task_has_ended()
        await story.stays_forgotten()
        await story.comes_back()
    tokens = [each["Authorization"].removeprefix("Bearer ") for each in bearer.values()]
    assert _logged(folder, *tokens) == []
