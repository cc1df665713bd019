"""State behind the probes: whether loops move, dependencies answer, and the service has started.

Liveness never checks dependencies: restarting a process does not mend a database. Readiness does,
and answers in bounded time whatever hangs: a frozen server accepts connections and never answers.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

from shared.runtime.clock import Clock

log = structlog.get_logger(__name__)

STALL_SECONDS_MAX = 120.0
"""A loop without an iteration for so long is stuck: the slowest legitimate step (a take-over that
waits for a stalled backend, with its retries) stays under a minute."""

ANSWER_S_MAX = 3.0
"""How long a check may take before it counts as failed. All run at once, so that the probe answers
within it, and a freeze is reported within the promised 10 s."""

CHECK_S = 5.0
"""Seconds between two runs of the checks for the metrics: one that fails shows at a scrape soon."""

STARTUP = "startup"
"""Name of the check that passes once the loops have begun."""

Check = Callable[[], Awaitable[str | None]]
"""Returns None when well, else a description of what is missing."""


@dataclass(slots=True)
class _CheckResult:
    """A check that has not answered yet."""

    task: "asyncio.Task[str | None]"
    since: float


class Health:
    """Collects heartbeats of loops and readiness checks of one service."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._beats: dict[str, float] = {}
        self._checks: dict[str, Check] = {}
        self._notes: dict[str, Check] = {}
        self._results: dict[str, _CheckResult] = {}
        self._missing: dict[str, str] | None = None
        self.started = False

    def beat(self, loop: str) -> None:
        """Note an iteration of a loop."""
        self._beats[loop] = self._clock.monotonic()

    def ended(self, loop: str) -> None:
        """A loop ended on purpose: stop watching it."""
        self._beats.pop(loop, None)

    def add_check(self, name: str, check: Check) -> None:
        """Register a readiness check."""
        self._checks[name] = check

    def add_note(self, name: str, check: Check) -> None:
        """Register a note: information that does not keep the service from being ready."""
        self._notes[name] = check

    def stalled(self) -> dict[str, float]:
        """Return seconds since the last iteration of each loop beyond `STALL_SECONDS_MAX`."""
        now = self._clock.monotonic()
        silent = {loop: now - at for loop, at in self._beats.items()}
        return {loop: s for loop, s in silent.items() if s > STALL_SECONDS_MAX}

    async def missing(self) -> dict[str, str]:
        """Return what keeps the service from being ready, by check, within `ANSWER_S_MAX`."""
        found: dict[str, str] = {}
        if not self.started:
            found[STARTUP] = "still starting"
        found |= await self._answers(self._checks)
        self._missing = found
        return found

    def passing(self) -> dict[str, bool]:
        """Return whether each check passed when it was last made; False before."""
        missing = self._missing
        return {
            name: missing is not None and name not in missing for name in (STARTUP, *self._checks)
        }

    async def notes(self) -> dict[str, str]:
        """Return the notes, by name."""
        return await self._answers(self._notes)

    async def _answers(self, checks: dict[str, Check]) -> dict[str, str]:
        """Return what the checks find.

        One that hangs is started once and awaited by every probe: cancelling it would need the
        server that does not answer.
        """
        asked = {name: self._ask(name, check) for name, check in checks.items()}
        if asked:
            await asyncio.wait([one.task for one in asked.values()], timeout=ANSWER_S_MAX)
        found: dict[str, str] = {}
        for name, one in asked.items():
            if not one.task.done():
                found[name] = f"no answer for {self._clock.monotonic() - one.since:.0f} s"
                continue
            self._results.pop(name, None)
            if (problem := one.task.result()) is not None:
                found[name] = problem
        return found

    def _ask(self, name: str, check: Check) -> _CheckResult:
        if name not in self._results:
            task = asyncio.ensure_future(_made(name, check))
            self._results[name] = _CheckResult(task, self._clock.monotonic())
        return self._results[name]


async def _made(name: str, check: Check) -> str | None:
    try:
        return await check()
    except Exception as error:
        # A check with a bug fails; raised, it would end the loop that makes the checks, and the
        # service with it. By its kind only: the text may contain an address.
        log.exception("check failed", check=name)
        return f"the check itself failed: {type(error).__name__}"
