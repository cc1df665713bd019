"""`Idempotency-Key`: what the services have in common about it."""

from datetime import timedelta
from typing import Annotated, Final

from fastapi import Header

KEPT: Final = timedelta(days=1)
"""How long a key is stored: longer than any client repeats a request."""

FORGET_MAX: Final = 1_000
"""Most old keys deleted when a new one is stored."""

Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=200,
        description="Any text of your own; the same request with the same key is done once.",
    ),
]
