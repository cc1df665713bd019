"""Use case: keeps what was refused over HTTP in the dead-letter topic, beside the HTTP answer.

A request hands over what it refused and goes on at once: neither its answer nor the accepted events
wait for this. Three bounds apply: bytes per minute, bytes that wait, and the same content is kept
once. What exceeds them is counted; the HTTP answer has reported it to its sender anyway.
"""

from collections import deque
from collections.abc import Callable
from typing import Final, Literal

from services.ingest.core.refused import EVENTS_ORIGIN, Allowance, letter
from services.ingest.ports import Outlet
from shared.contracts.dead_letter import DeadLetter, Headers
from shared.contracts.topics import RAW_MESSAGE_BYTES_MAX
from shared.kafka.producer import Record
from shared.kernel.errors import Invalid, Transient
from shared.runtime.clock import Clock
from shared.runtime.loop import repeat
from shared.runtime.service import Stop

WAITING_BYTES_MAX: Final = 16 * 1024 * 1024
"""Bytes that may wait for the broker: three of the largest requests."""
LETTER_BYTES: Final = 4 * 1024
"""Overhead added to a letter's own bytes: headers, and a row of the index with its keys."""
KNOWN_MAX: Final = 10_000
"""Number of letters remembered, so that a sender who repeats the same content adds nothing."""
DRAIN_S: Final = 0.2
"""How often waiting letters are sent: soon enough for an operator, and in batches."""

Outcome = Literal["kept", "known", "dropped"]


class KeepRefused:
    """Keeps each refusal it is called with; `watch` sends them. `bytes_per_minute` 0 keeps none."""

    def __init__(
        self,
        outlet: Outlet,
        topic: str,
        bytes_per_minute: int,
        clock: Clock,
        observe: Callable[[Outcome, int], None],
    ) -> None:
        self._outlet = outlet
        self._topic = topic
        self._allowance = Allowance(bytes_per_minute)
        self._clock = clock
        self._observe = observe
        self._waiting: deque[DeadLetter] = deque()
        self._waiting_bytes = 0
        self._known: dict[int, None] = {}
        """Numbers of the remembered letters, the oldest first."""

    def __call__(
        self, value: bytes, fault: Invalid, headers: Headers, origin: str = EVENTS_ORIGIN
    ) -> None:
        """Keep these bytes if the bounds allow it; `origin`: the route that they came to."""
        found = letter(value, fault, headers, self._clock.now(), origin)
        number = found.origin.offset
        if number in self._known:
            self._observe("known", 1)
            return
        cost = len(value) + LETTER_BYTES
        room = self._waiting_bytes + cost <= WAITING_BYTES_MAX
        # Larger values could not be replayed: the raw topic would refuse them.
        room = room and len(value) <= RAW_MESSAGE_BYTES_MAX
        if not room or not self._allowance.take(cost, self._clock.monotonic()):
            self._observe("dropped", 1)
            return
        self._known[number] = None
        if len(self._known) > KNOWN_MAX:
            del self._known[next(iter(self._known))]
        self._waiting.append(found)
        self._waiting_bytes += cost

    async def watch(self, stop: Stop) -> None:
        """Send waiting letters until `stop`, and once more after it."""
        await repeat(self._send, stop, "refused events", DRAIN_S)
        try:
            await self._send()
        except Transient:
            self._observe("dropped", len(self._waiting))

    async def _send(self) -> None:
        batch = list(self._waiting)
        if not batch:
            return
        await self._outlet.send(Record(self._topic, x.key, x.value, x.to_headers()) for x in batch)
        for sent in batch:
            self._waiting.popleft()
            self._waiting_bytes -= len(sent.value or b"") + LETTER_BYTES
        self._observe("kept", len(batch))
