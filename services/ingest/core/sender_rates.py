"""Bounds how many events each sender may send over HTTP in a minute."""

from math import ceil
from typing import Final

from services.ingest.core.refused import Allowance

SENDERS_MAX: Final = 1_000
"""Senders remembered, the newest: tokens and sources of one deployment are far fewer."""


class TooMany(Exception):  # noqa: N818 (an answer, not an error of ours)
    """A sender has used up its allowance; `wait_s`: whole seconds until it has enough again."""

    def __init__(self, wait_s: int) -> None:
        super().__init__(f"wait {wait_s} s")
        self.wait_s = wait_s


class SenderRates:
    """One per process. An allowance accumulates for at most one minute."""

    def __init__(self, events_per_minute: int) -> None:
        self._per_minute = events_per_minute
        self._allowances: dict[str, Allowance] = {}

    def admit(self, sender: str, events: int, now_s: float) -> None:
        """Count the events of a request; raises TooMany, and then counts none.

        `now_s`: on a monotonic clock.
        """
        allowance = self._allowances.pop(sender, None) or Allowance(self._per_minute)
        self._allowances[sender] = allowance
        if len(self._allowances) > SENDERS_MAX:
            del self._allowances[next(iter(self._allowances))]
        if not allowance.take(events, now_s):
            raise TooMany(max(1, ceil(allowance.wait_s(events))))
