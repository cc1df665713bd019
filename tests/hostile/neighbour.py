"""A well-behaved neighbour in a process of its own, so that what the attackers cost is not in it.

python -m tests.hostile.neighbour: reads its `Config` from the first line of its input, then one
line for each phase (a name), and at the end of the input waits for what is under way and writes a
JSON document of what it saw (`Seen`). It sends ordinary requests to each service, looks at
`/livez`, has a task raised for a customer of its own again and again, and receives each.
"""

import asyncio
import contextlib
import math
import sys
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

import httpx
import msgspec

from shared.contracts import risk, topics
from shared.kafka.producer import Producer, Record
from shared.kafka.settings import KafkaSettings
from tests.benchmark.receiver import NO_CONTENT
from tests.unit.alerts.samples import assessed

ENDPOINT: Final = "neighbour"
PERIOD_S: Final = 0.1
"""Between two requests of the same kind."""
TASK_PERIOD_S: Final = 0.2
"""Between two customers with a task to deliver."""
ENDED: Final = (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError)
"""How a connection ends: by the sender, or with the run."""
LATE_S_MAX: Final = 120.0
"""Until a delivery that has not come counts as lost."""


STALL_S_MAX: Final = 1.0
"""An answer of `/livez` that takes longer is a stall."""
TICK_S: Final = 0.02
"""Between two turns of this process by which it notices that it stood still itself."""


class Livez(msgspec.Struct):
    """What was seen of one service's `/livez`."""

    looks: int = 0
    slowest_s: float = 0.0
    stalls: list[str] = []
    """The phase of each, and how long it took."""
    unseen: list[str] = []
    """Slow looks during which this process stood still itself for so long that they show nothing
    about the service: the machine gave it no turn."""


class Config(msgspec.Struct):
    """Where everything is."""

    urls: dict[str, str]
    tokens: dict[str, str]
    kafka: str


class Seen(msgspec.Struct):
    """What the neighbour saw."""

    milliseconds: dict[str, dict[str, list[float]]] = {}
    """Phase -> what was asked for -> how long each took."""
    livez: dict[str, Livez] = {}
    wrong: list[str] = []
    """Answers that were not what they should be."""
    sent: int = 0
    """Customers with an expected task."""
    lost: int = 0
    doubled: int = 0
    """Messages that came more than once."""


def p(share: float, values: Sequence[float]) -> float:
    """A percentile of measured values; NaN of none."""
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, math.ceil(share * len(ranked)) - 1)] if ranked else math.nan


@dataclass(slots=True)
class Neighbour:
    """One run of it."""

    config: Config
    phase: str = "start"
    seen: Seen = field(default_factory=Seen)
    waiting: dict[str, tuple[str, float]] = field(default_factory=dict)
    """Customer -> phase and time at which the task was to be raised."""
    messages: Counter[str] = field(default_factory=Counter)
    late: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=1_000))
    """When this process was late for its own turn, and by how many seconds."""
    _number: int = 0

    def note(self, phase: str, what: str, seconds: float) -> None:
        """One measured time."""
        times = self.seen.milliseconds.setdefault(phase, {}).setdefault(what, [])
        times.append(round(seconds * 1000, 2))

    async def tick(self) -> None:
        """Notice when this process itself stands still."""
        while True:
            due = time.monotonic() + TICK_S
            await asyncio.sleep(TICK_S)
            if (late := time.monotonic() - due) > TICK_S:
                self.late.append((time.monotonic(), late))

    async def look(self, name: str, phase: str, begun: float, took: float) -> None:
        """Judge one answer of a service's `/livez`."""
        seen = self.seen.livez.setdefault(name, Livez())
        seen.looks += 1
        if took > STALL_S_MAX:
            await asyncio.sleep(2 * TICK_S)  # until `tick` has had its turn, too
            still = sum(late for at, late in self.late if at >= begun)
            shown = f"{phase}: {took:.2f} s, the observer stood still for {still:.2f} s of it"
            (seen.stalls if took - still > STALL_S_MAX else seen.unseen).append(shown)
            took -= min(took, still)
        seen.slowest_s = max(seen.slowest_s, round(took, 3))

    async def ask(self, what: str, method: str, url: str, token: str | None) -> None:
        """Ask for one thing again and again, the next after the last."""
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        async with httpx.AsyncClient(headers=headers, timeout=60) as client:
            while True:
                phase, begun = self.phase, time.monotonic()
                try:
                    content = self._event() if method == "POST" else None
                    answer = await client.request(method, url, content=content)
                    if answer.status_code not in {200, 202}:
                        self.seen.wrong.append(f"{phase}: {what}: HTTP {answer.status_code}")
                except httpx.TransportError as trouble:
                    self.seen.wrong.append(f"{phase}: {what}: {type(trouble).__name__}")
                took = time.monotonic() - begun
                self.note(phase, what, took)
                if what.endswith("/livez"):
                    await self.look(what.partition(" ")[0], phase, begun, took)
                await asyncio.sleep(max(0.0, PERIOD_S - took))

    def _event(self) -> bytes:
        self._number += 1
        event = {
            "specversion": "1.0", "id": f"neighbour-{self._number}", "source": "neighbour",
            "subject": "well-behaved", "type": "io.ebbwatch.interaction",
            "time": datetime.now(UTC).isoformat(), "data": {"kind": "page_viewed"},
        }  # fmt: skip
        return msgspec.json.encode(event)

    async def raise_tasks(self, producer: Producer) -> None:
        """Have a task raised for one more customer, again and again."""
        while True:
            self.seen.sent += 1
            now, customer = datetime.now(UTC), f"neighbour-{self.seen.sent}"
            message = assessed(
                1, 0, customer_id=customer, assessed_at=now,
                last_purchase_at=now - timedelta(days=20),
                received_ms=round(1000 * now.timestamp()),
            )  # fmt: skip
            self.waiting[customer] = self.phase, time.monotonic()
            value = risk.ENCODER.encode(message)
            await producer.send([Record(topics.RISK.name, customer.encode(), value)])
            await asyncio.sleep(TASK_PERIOD_S)

    async def receive(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A connection of the sender's: each message is taken at once."""
        with contextlib.suppress(*ENDED):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
                headers = dict(
                    line.split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line
                )
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                at = time.monotonic()
                writer.write(NO_CONTENT)
                self.messages[headers["webhook-id"]] += 1
                customer = msgspec.json.decode(body)["data"]["task"]["customer"]["id"]
                if found := self.waiting.pop(customer, None):
                    self.note(found[0], "delivery", at - found[1])
        writer.close()

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        """Everything that it does, until it is left; then what is under way comes in."""
        server = await asyncio.start_server(self.receive, "127.0.0.1", 0)
        await self._make_endpoint(server.sockets[0].getsockname()[1])
        producer = Producer(KafkaSettings(bootstrap_servers=self.config.kafka), "neighbour")
        asked = [
            *((f"{n} /livez", "GET", f"{url}/livez", None) for n, url in self.config.urls.items()),
            ("ingest POST /v1/events", "POST", self._url("ingest", "/v1/events"), "ingest"),
            ("scoring GET /v1/customers", "GET", self._url("scoring", "/v1/customers"), "scoring"),
            ("alerts GET /v1/tasks", "GET", self._url("alerts", "/v1/tasks"), "alerts"),
        ]
        work = [asyncio.create_task(self.raise_tasks(producer)), asyncio.create_task(self.tick())]
        for what, method, url, name in asked:
            token = None if name is None else self.config.tokens[name]
            work.append(asyncio.create_task(self.ask(what, method, url, token)))
        try:
            yield
        finally:
            ended = [task.exception() for task in work if task.done()]
            for task in work:
                task.cancel()
            await asyncio.gather(*work, return_exceptions=True)
            self.seen.wrong += [f"the neighbour itself: {trouble!r}" for trouble in ended]
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LATE_S_MAX):
                    while self.waiting:  # noqa: ASYNC110 (what to wait for is a dictionary)
                        await asyncio.sleep(0.1)
            await producer.close()
            server.close()
            self.seen.lost = len(self.waiting)
            self.seen.doubled = sum(count > 1 for count in self.messages.values())

    async def _make_endpoint(self, port: int) -> None:
        headers = {"Authorization": f"Bearer {self.config.tokens['alerts']}"}
        made = {"id": ENDPOINT, "url": f"http://127.0.0.1:{port}/"}
        async with httpx.AsyncClient(headers=headers, timeout=60) as client:
            answer = await client.post(self._url("alerts", "/v1/endpoints"), json=made)
            answer.raise_for_status()

    def _url(self, name: str, path: str) -> str:
        return self.config.urls[name] + path


async def main() -> None:
    """Until the input ends."""
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(lines), sys.stdin
    )
    neighbour = Neighbour(msgspec.json.decode(await lines.readline(), type=Config))
    async with neighbour.at_work():
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        while line := await lines.readline():
            neighbour.phase = line.decode().strip()
    sys.stdout.write(msgspec.json.encode(neighbour.seen).decode() + "\n")


if __name__ == "__main__":
    asyncio.run(main())
