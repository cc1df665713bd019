"""The attacks: hostile requests to each service, hostile records to each topic, slow senders."""

import asyncio
import contextlib
import itertools
import json
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import httpx

from deploy.demo.services import NAMES
from shared.contracts import topics
from shared.kafka.producer import Producer, Record
from tests.hostile.corpus import Hostile, Maker
from tests.hostile.environment import HostileEnvironment
from tests.hostile.samples import good_message

TOPICS: Final = tuple(
    topic.name
    for topic in (topics.RAW, topics.ACTIVITY, topics.RISK, topics.CHANGES, topics.TREATMENT)
)
"""The raw topic and those between the services, where nobody but us should write."""

RECORDS_PER_S: Final = 500
"""Records sent a second, hostile or good: 20,000 take 40 s, enough for a percentile."""
RECORDS_AT_ONCE: Final = 50
"""Records of one send."""
CUSTOMERS: Final = 200
"""Customers with good records."""

AT_ONCE: Final = 8
"""Requests under way."""

GOOD_MIN: Final = 20
"""Good requests beside slow senders, at least."""
GOOD_PERIOD_S: Final = 0.05

SLOW: Final = 64
"""Senders that drip a byte now and then, four times what used to stop the intake."""

CALLBACKS: Final = (
    "/v1/callbacks/crm",
    "/v1/callbacks/zoho/crm/secret",
    "/v1/callbacks/wecom/crm?msg_signature=a&timestamp=1&nonce=b",
)
"""Paths that want no token and are in no document."""


@dataclass(slots=True)
class Outcome:
    """What came of the attacks on one service."""

    answers: Counter[int] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    """Requests that were answered with 500, and how."""
    unanswered: int = 0
    """Connections that were closed without an answer."""


async def requests(environment: HostileEnvironment, name: str, count: int, seed: int) -> Outcome:
    """Hostile requests to one service."""
    url, token = environment.services.url(name), environment.tokens[name]
    maker, outcome = Maker(seed), Outcome()
    async with httpx.AsyncClient(timeout=60.0) as client:
        document = (await client.get(f"{url}/openapi.json")).json()
        if name == "alerts":
            _with_callbacks(document)
        waiting = iter(maker.requests(document, token, count))

        async def send_some() -> None:
            for hostile in waiting:
                await _send(client, url, hostile, outcome)

        await asyncio.gather(*(send_some() for _ in range(AT_ONCE)))
    return outcome


def _with_callbacks(document: dict[str, Any]) -> None:
    for path in CALLBACKS:
        document["paths"].setdefault(path, {"post": {}, "get": {}})


async def _send(client: httpx.AsyncClient, url: str, hostile: Hostile, outcome: Outcome) -> None:
    headers = [(k.encode(), v.encode("latin-1", "replace")) for k, v in hostile.headers.items()]
    try:
        answer = await client.request(
            hostile.method, url + hostile.path, headers=headers, content=hostile.body
        )
    except (httpx.InvalidURL, httpx.TransportError):
        outcome.unanswered += 1
        return
    outcome.answers[answer.status_code] += 1
    if answer.status_code == 500:
        shown = f"{hostile.method} {hostile.path[:200]} {hostile.body[:200]!r}"
        outcome.faults.append(shown)


async def records(environment: HostileEnvironment, made: Iterable[Record]) -> int:
    """Send records at a steady pace; returns how many the broker took, which is all of them."""
    producer = Producer(environment.stack.kafka.settings, "hostile")
    taken, due, waiting = 0, time.monotonic(), iter(made)
    while group := list(itertools.islice(waiting, RECORDS_AT_ONCE)):
        await producer.send(group)
        taken += len(group)
        due += RECORDS_AT_ONCE / RECORDS_PER_S
        await asyncio.sleep(due - time.monotonic())
    await producer.close()
    return taken


async def ordinary_requests(environment: HostileEnvironment, name: str, seconds: float) -> None:
    """As many at once as in the attack, all of them good: what the load alone costs."""
    token, end, number = environment.tokens[name], time.monotonic() + seconds, itertools.count()
    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {token}"}) as client:

        async def send_some() -> None:
            while time.monotonic() < end:
                await good(client, environment.services.url(name), name, next(number))

        await asyncio.gather(*(send_some() for _ in range(AT_ONCE)))


def hostile_records(count: int, seed: int) -> Iterator[Record]:
    """Yield hostile records, for every topic in turn.

    A broker refuses a record without a key on a compacted topic: its key is empty there.
    """
    for made in Maker(seed).records(TOPICS, count):
        key = b"" if made.key is None and made.topic == topics.RISK.name else made.key
        yield Record(made.topic, key, made.value, made.headers)


def good_records(count: int) -> Iterator[Record]:
    """Yield good records for the same topics in turn: what the load alone costs."""
    for number, topic in zip(range(count), itertools.cycle(TOPICS), strict=False):
        customer = f"ordinary-{number // len(TOPICS) % CUSTOMERS}"
        yield Record(topic, customer.encode(), good_message(topic, customer, number))


async def slow_senders(
    environment: HostileEnvironment, name: str, seconds: float, senders: int = SLOW
) -> tuple[int, int]:
    """Drip many bodies, and meanwhile send good requests: how many of these there were, and how
    many were answered with other than they should."""
    url, token = httpx.URL(environment.services.url(name)), environment.tokens[name]
    path = {"ingest": "/v1/events", "scoring": "/v1/value/policy", "alerts": "/v1/policy"}[name]
    method = "POST" if name == "ingest" else "PUT"
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
        "Content-Type: application/json\r\nContent-Length: 100000\r\n\r\n"
    ).encode()

    async def drip() -> None:
        while True:
            await drip_once()

    async def drip_once() -> None:
        reader, writer = await asyncio.open_connection(url.host, url.port)
        try:
            writer.write(head)
            while not reader.at_eof():
                writer.write(b" ")
                await writer.drain()
                await asyncio.sleep(1.0)
        except ConnectionError:
            pass  # the service ended it, as it should
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    dripping = [asyncio.create_task(drip()) for _ in range(senders)]
    await asyncio.sleep(0.5)
    wrong, sent, end = 0, 0, time.monotonic() + seconds
    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {token}"}) as client:
        while sent < GOOD_MIN or time.monotonic() < end:
            answer = await good(client, str(url), name, sent)
            wrong += answer.status_code not in {200, 202}
            sent += 1
            await asyncio.sleep(GOOD_PERIOD_S)
    for one in dripping:
        one.cancel()
    await asyncio.gather(*dripping, return_exceptions=True)
    return sent, wrong


async def good(client: httpx.AsyncClient, url: str, name: str, number: int) -> httpx.Response:
    """What a neighbour sends."""
    if name == "ingest":
        event = {
            "specversion": "1.0", "id": f"good-{number}", "source": "hostile", "subject": "good",
            "type": "io.ebbwatch.interaction", "time": "2026-03-01T09:00:00Z",
            "data": {"kind": "page_viewed"},
        }  # fmt: skip
        return await client.post(f"{url}/v1/events", content=json.dumps(event), timeout=30)
    path = "/v1/customers" if name == "scoring" else "/v1/tasks"
    return await client.get(url + path, timeout=30)


async def all_of(environment: HostileEnvironment, count: int, seed: int) -> dict[str, Outcome]:
    """`count` requests to each service, one service after the other."""
    return {
        name: await requests(environment, name, count, seed + n) for n, name in enumerate(NAMES)
    }
