"""A clock that stands still until a test moves it."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta


@dataclass(slots=True)
class SetClock:
    """Returns `at`, and `seconds` as the monotonic time; both move with `pass_by` only."""

    at: datetime = datetime(2026, 3, 1, 9, tzinfo=UTC)
    seconds: float = 0.0

    def now(self) -> datetime:
        """Return the instant that was set, UTC."""
        return self.at

    def monotonic(self) -> float:
        """Return the seconds that have passed since the test began."""
        return self.seconds

    def pass_by(self, time: timedelta) -> None:
        """Move both forward by this time."""
        self.at += time
        self.seconds += time.total_seconds()
