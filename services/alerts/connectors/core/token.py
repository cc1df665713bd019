"""An access token of a CRM, and whether it may still be used.

The value that processes share; tokens are requested elsewhere.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Literal

SPARE: Final = timedelta(minutes=2)
"""How long before its end a token is replaced: longer than any request and any clock's error."""

TokenLease = Literal["mine", "busy", "spent"]
"""Which process may request a new token: this one (`mine`); another is requesting (`busy`); none,
as the vendor's limit is reached (`spent`)."""


@dataclass(frozen=True, slots=True)
class Token:
    """An access token with the start and end of its validity."""

    value: str = field(repr=False)
    obtained_at: datetime
    expires_at: datetime

    def serves(self, now: datetime, since: datetime | None) -> bool:
        """Return True when it may be used at `now` and was obtained at or after `since`."""
        return self.expires_at - SPARE > now and (since is None or self.obtained_at >= since)
