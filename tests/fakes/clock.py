"""A clock that stands still until a test moves it."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta


@dataclass(slots=True)
class SetClock:
    """Tells `at`, and `seconds` as the monotonic time; both move with `pass_by` only."""

    at: datetime = datetime(2026, 3, 1, 9, tzinfo=UTC)
    seconds: float = 0.0

    def now(self) -> datetime:
        """The instant that was set, UTC."""
        return self.at

    def monotonic(self) -> float:
        """Seconds that have passed since the test began."""
        return self.seconds

    def pass_by(self, time: timedelta) -> None:
        """Let this much time go by on both."""
        self.at += time
        self.seconds += time.total_seconds()
