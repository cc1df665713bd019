"""An access token of a CRM, and whether it may still be used.

What it is for: the value that processes share. It never asks for one.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Literal

SPARE: Final = timedelta(minutes=2)
"""A token is replaced so long before its end: longer than any request and any clock's error."""

TokenLease = Literal["mine", "busy", "spent"]
"""Who may ask for a new token: this process; another is asking; nobody, as it was asked for as
often as the vendor allows."""


@dataclass(frozen=True, slots=True)
class Token:
    """An access token, from when and until when it is good."""

    value: str = field(repr=False)
    obtained_at: datetime
    expires_at: datetime

    def serves(self, now: datetime, since: datetime | None) -> bool:
        """True when it may be used at `now` and was obtained at or after `since`."""
        return self.expires_at - SPARE > now and (since is None or self.obtained_at >= since)
