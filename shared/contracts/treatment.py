"""`ebbwatch.treatment`: what was done about a customer, keyed by customer id.

Written by alerts so that scoring and training know who was treated, who was held out and
what the owner found: a treated customer's return is not proof that the warning was wrong.
"""

from datetime import datetime
from typing import Literal

import msgspec

Verdict = Literal["reached", "action_taken", "leaving", "wrong_alarm"]
"""What the owner says: spoke to the customer; did something; the customer leaves; there was
nothing to it."""
LeavingCause = Literal["price", "service", "quality", "competitor", "moved", "no_need", "other"]
"""Why a customer leaves, as the owner learned it."""


class TreatmentRecorded(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """One fact about one customer.

    A customer is treated from `task_raised` until `until`, and left alone from `held_out`
    until `until`: windows that training must weigh or leave out. A task that raises and one
    that is held out carry the revision of the assessment, which names the features.
    """

    customer_id: str
    kind: Literal["task_raised", "task_closed", "held_out", "verdict"]
    at: datetime
    """Business time, UTC."""
    task_id: str | None = None
    """Of a held-out customer: the id that the task would have had."""
    cause: str | None = None
    detail: str | None = None
    """Why a task closed, or the verdict's word (`Verdict`)."""
    policy: str | None = None
    """Id and version of the policy, as `default@3`."""
    playbook: str | None = None
    revision: int | None = None
    """Of the assessment that led to it."""
    probability: float | None = None
    """As assessed then."""
    until: datetime | None = None
    """End of the window in which the outcome is measured: `at` + horizon."""
    leaving_cause: LeavingCause | None = None
    """With the verdict `leaving`."""


ENCODER = msgspec.json.Encoder()
DECODER = msgspec.json.Decoder(TreatmentRecorded)
