"""`ebbwatch.treatment`: what was done about a customer, keyed by customer id.

Written by alerts so that scoring and training know who was treated, who was held out and
what the owner found: a treated customer's return is not proof that the warning was wrong.
"""

from datetime import datetime
from typing import Literal

import msgspec


class TreatmentRecorded(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """One fact about one customer."""

    customer_id: str
    kind: Literal["task_raised", "task_closed", "held_out", "verdict"]
    at: datetime
    """Business time, UTC."""
    task_id: str | None = None
    cause: str | None = None
    detail: str | None = None
    """Why a task closed, or the verdict's word."""


ENCODER = msgspec.json.Encoder()
DECODER = msgspec.json.Decoder(TreatmentRecorded)
