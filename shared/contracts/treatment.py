"""`ebbwatch.treatment`: what was done about a customer, keyed by customer id.

Alerts writes it so that scoring and training know which customers were treated or held out and what
the owner found: a treated customer's return does not prove the warning wrong.
"""

from datetime import datetime
from typing import Literal

import msgspec

TreatmentKind = Literal["task_raised", "task_closed", "held_out", "verdict"]
Verdict = Literal["reached", "action_taken", "leaving", "wrong_alarm"]
"""The owner's finding: spoke to the customer; did something; the customer leaves; the warning was
wrong."""
LeavingCause = Literal["price", "service", "quality", "competitor", "moved", "no_need", "other"]
"""Why a customer leaves, according to the owner."""


class TreatmentRecorded(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """One fact about one customer.

    A customer is treated from `task_raised` until `until`, and left alone from `held_out`
    until `until`: windows that training must weigh or leave out. A task that raises and one
    that is held out carry the revision of the assessment, which names the features.
    """

    customer_id: str
    kind: TreatmentKind
    at: datetime
    """Business time, UTC."""
    task_id: str | None = None
    """For a held-out customer: the id that the task would have had."""
    cause: str | None = None
    detail: str | None = None
    """Why a task closed, or the verdict (`Verdict`)."""
    policy: str | None = None
    """Id and version of the policy, as `default@3`."""
    playbook: str | None = None
    revision: int | None = None
    """Revision of the assessment that led to it."""
    probability: float | None = None
    """The probability as assessed then."""
    until: datetime | None = None
    """End of the window in which the outcome is measured: `at` + horizon."""
    leaving_cause: LeavingCause | None = None
    """Set with the verdict `leaving`."""


ENCODER = msgspec.json.Encoder()
DECODER = msgspec.json.Decoder(TreatmentRecorded)
