"""What the probes say: are the loops moving, are the things we need there, did we start.

Liveness never looks at dependencies: restarting a process does not mend a database.
"""

from collections.abc import Awaitable, Callable

from shared.runtime.clock import Clock

STALL_SECONDS_MAX = 120.0
"""A loop that has not come round for so long is stuck: the slowest legitimate step (a
take-over that waits for a stalled backend, with its retries) stays under a minute."""

Check = Callable[[], Awaitable[str | None]]
"""Returns None when well, else what is missing, in words."""


class Health:
    """Collects heartbeats of loops and readiness checks of one service."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._beats: dict[str, float] = {}
        self._checks: dict[str, Check] = {}
        self.started = False

    def beat(self, loop: str) -> None:
        """A loop came round."""
        self._beats[loop] = self._clock.monotonic()

    def ended(self, loop: str) -> None:
        """A loop ended on purpose: stop watching it."""
        self._beats.pop(loop, None)

    def add_check(self, name: str, check: Check) -> None:
        """Register a readiness check."""
        self._checks[name] = check

    def stalled(self) -> dict[str, float]:
        """Seconds of silence of each loop beyond `STALL_SECONDS_MAX`."""
        now = self._clock.monotonic()
        silent = {loop: now - at for loop, at in self._beats.items()}
        return {loop: s for loop, s in silent.items() if s > STALL_SECONDS_MAX}

    async def missing(self) -> dict[str, str]:
        """What keeps the service from being ready, by check."""
        found: dict[str, str] = {}
        if not self.started:
            found["startup"] = "still starting"
        for name, check in self._checks.items():
            if (problem := await check()) is not None:
                found[name] = problem
        return found
