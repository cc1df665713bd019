"""Section `intake` over HTTP: batches of 100 events to a real process, on a real broker.

http_batch_per_s: events per second with requests one after another on several connections.
http_cpu_us_each: processor time of one event, reading it from the raw topic included.
http_p99_ms: from sending a request to its answer, paced at half of the target whatever that speed.

python -m tests.benchmark.http_intake
"""

import asyncio
import json
import sys
import time

import httpx
import numpy as np
import psutil

from deploy.demo.services import Services
from deploy.local import topics as creating
from deploy.local.stack import DATA, LocalStack
from tests.benchmark import common
from tests.unit.ingest.events import event

BATCH = 100
"""Events of one request."""
TARGET_PER_S = 10_000
REQUESTS = 1_000
"""Requests at full speed: some ten seconds of work."""
WARM_REQUESTS = 50
"""Requests before anything is measured: connections, the broker's metadata."""
CONNECTIONS = 8
PACED_SECONDS = 20
"""A thousand requests, so that the p99 is based on ten."""


async def run(stack: LocalStack) -> dict[str, float]:
    """Runs this part of the section."""
    await creating.create(stack.kafka.settings)
    folder = DATA / "bench" / "http-intake"
    with Services(folder, stack.environment(), clock="live") as services:
        token = services.prepare()["ingest"]
        services.start("ingest")
        await services.ready("ingest")
        limits = httpx.Limits(max_connections=4 * CONNECTIONS)
        async with httpx.AsyncClient(limits=limits, timeout=30) as client:
            client.headers["Authorization"] = f"Bearer {token}"
            bench = Bench(client, f"{services.url('ingest')}/v1/events")
            await bench.at_full_speed(WARM_REQUESTS)
            requests = max(WARM_REQUESTS, round(REQUESTS * common.SCALE))
            process = psutil.Process(services.pid("ingest"))
            cpu_s = -sum(process.cpu_times()[:2])
            per_s = await bench.at_full_speed(requests)

            async def all_read() -> bool:
                read = await services.counted("ingest", "ebbwatch_ingest_events_total")
                return read >= bench.sent

            # The process reads what it took: that is a part of the work, and no part of the next.
            await services.wait(all_read, "the raw topic to be read", 120)
            cpu_s += sum(process.cpu_times()[:2])
            waits = await bench.paced(TARGET_PER_S / 2, PACED_SECONDS * min(1.0, common.SCALE))
    return {
        "http_batch_per_s": per_s,
        "http_cpu_us_each": cpu_s / (requests * BATCH) * 1e6,
        "http_p50_ms": float(np.percentile(waits, 50)),
        "http_p99_ms": float(np.percentile(waits, 99)),
    }


class Bench:
    """Sends batches; their bodies are made beforehand, since the sender shares the machine."""

    def __init__(self, client: httpx.AsyncClient, url: str) -> None:
        self._client = client
        self._url = url
        self.sent = 0

    def _bodies(self, requests: int) -> list[bytes]:
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        data = {"amount": "23.45", "currency": "USD", "channel": "online", "order_id": "o-1"}
        found = []
        for _ in range(requests):
            events = [
                event(id=f"{self.sent + n}", subject=f"customer-{n}", time=now, data=data)
                for n in range(BATCH)
            ]
            self.sent += BATCH
            found.append(json.dumps(events).encode())
        return found

    async def _post(self, body: bytes) -> float:
        began = time.perf_counter()
        answer = await self._client.post(self._url, content=body)
        assert answer.status_code == 202, answer.text
        return 1000 * (time.perf_counter() - began)

    async def at_full_speed(self, requests: int) -> float:
        """Return events per second, each connection sending as soon as it is answered."""
        waiting = self._bodies(requests)

        async def connection() -> None:
            while waiting:
                await self._post(waiting.pop())

        began = time.perf_counter()
        await asyncio.gather(*(connection() for _ in range(CONNECTIONS)))
        return requests * BATCH / (time.perf_counter() - began)

    async def paced(self, per_s: float, seconds: float) -> list[float]:
        """Return the wait of each request, in ms, at so many events per second."""
        bodies = self._bodies(round(per_s * seconds / BATCH))
        began = time.perf_counter()
        sending: list[asyncio.Task[float]] = []
        for n, body in enumerate(bodies):
            await asyncio.sleep(max(0.0, began + n * BATCH / per_s - time.perf_counter()))
            sending.append(asyncio.create_task(self._post(body)))
        return await asyncio.gather(*sending)


if __name__ == "__main__":
    sys.stdout.write(json.dumps(common.run(run), indent=2) + "\n")
