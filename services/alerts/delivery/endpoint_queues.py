"""The sender's endpoint queues: one per endpoint, so that none waits for another.

They hold what is claimed and under way for each endpoint, and decide how much more may be claimed.
In memory only; the persistent queue is in PostgreSQL.
"""

import asyncio
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from services.alerts.delivery.core.circuit_breaker import Breaker, State
from services.alerts.delivery.core.endpoint import Endpoint
from services.alerts.delivery.ports import (
    Attempted,
    Leased,
)

CLAIM_MAX = 100
"""Deliveries claimed at once per endpoint: a fifth of a second of work at 500 a second."""


@dataclass(slots=True)
class EndpointQueue:
    """One endpoint's messages in this process."""

    endpoint: Endpoint
    width: int
    """Requests under way at once, at most."""
    breaker: Breaker = field(default_factory=Breaker)
    waiting: deque[Leased] = field(default_factory=deque)
    under_way: dict[asyncio.Task[Attempted], Leased] = field(default_factory=dict)
    late: list[Leased] = field(default_factory=list)
    """Deliveries with too little of the lease left for an attempt: they go back to the queue."""

    def room(self, now: datetime) -> int:
        """Return how many more messages to claim at `now`."""
        state = self.breaker.state(now)
        if state != "closed":
            return int(state == "half_open" and not self.waiting and not self.under_way)
        free = self.width - len(self.under_way) - len(self.waiting)
        if self.endpoint.rate_per_s is not None:
            return max(free, 0)  # what the rate grants is sent at once, or the rate would not hold
        return CLAIM_MAX if len(self.waiting) < self.width else 0

    def startable(self, now: datetime, attempt_s: float) -> Iterator[Leased]:
        """Yield the messages to start now, removed from the waiting ones."""
        state = self.breaker.state(now)
        room = {"closed": self.width, "half_open": 1, "open": 0}[state] - len(self.under_way)
        while self.waiting and room > 0:
            delivery = self.waiting.popleft()
            if (delivery.until - now).total_seconds() >= attempt_s:
                room -= 1
                yield delivery
            else:
                self.late.append(delivery)

    def ended(self, task: asyncio.Task[Attempted]) -> Attempted:
        """Report an ended attempt to the breaker and return it; raises what it raised (a bug)."""
        del self.under_way[task]
        attempted = task.result()
        ok = attempted.answer.result in {
            "ok",
            "permanent",
        }  # the receiver answered, even if it refused a message
        self.breaker = self.breaker.record(attempted.ended_at, ok=ok)
        return attempted


class EndpointQueues:
    """The endpoint queues of one process. `width_max` bounds each of them."""

    def __init__(self, width_max: int) -> None:
        self._width_max = width_max
        self._queues: dict[str, EndpointQueue] = {}

    def __iter__(self) -> Iterator[EndpointQueue]:
        return iter(self._queues.values())

    def get(self, endpoint_id: str) -> EndpointQueue | None:
        """Return the queue of an endpoint; None where the endpoint may not be sent to."""
        return self._queues.get(endpoint_id)

    def update(self, endpoints: Sequence[Endpoint]) -> list[Leased]:
        """Keep queues for exactly these endpoints; return what waited for others.

        A queue that has requests under way stays until they end.
        """
        back: list[Leased] = []
        kept = {endpoint.id: endpoint for endpoint in endpoints}
        for name, queue in list(self._queues.items()):
            if name not in kept:
                back += queue.waiting
                queue.waiting.clear()
                if not queue.under_way:
                    del self._queues[name]
        for endpoint in endpoints:
            width = min(endpoint.concurrency_max, self._width_max)
            queue = self._queues.setdefault(endpoint.id, EndpointQueue(endpoint, width))
            queue.endpoint, queue.width = endpoint, width
        return back

    def opened(self, now: datetime) -> list[Leased]:
        """Remove and return what cannot be sent now: it goes back to the queue."""
        back: list[Leased] = []
        for queue in self:
            back += queue.late
            queue.late.clear()
            if queue.breaker.state(now) == "open":
                back += queue.waiting
                queue.waiting.clear()
        return back

    def accept(self, claimed: Iterable[Leased]) -> None:
        """Put claimed messages into their endpoint queues."""
        for delivery in claimed:
            self._queues[delivery.endpoint_id].waiting.append(delivery)

    def states(self, now: datetime) -> dict[str, State]:
        """Return the state of each endpoint queue's breaker."""
        return {name: queue.breaker.state(now) for name, queue in self._queues.items()}
