"""Good messages of every topic: some to be damaged, others as an ordinary load."""

import msgspec

from shared.contracts import changes, risk, topics, treatment
from shared.contracts import events as types
from shared.contracts.activity import ActivityData
from shared.contracts.events import Owner, Profile
from tests.fakes import activity
from tests.fakes.activity import day
from tests.unit.alerts.samples import assessed
from tests.unit.ingest.events import encoded

PROFILE = ActivityData(profile=Profile(name="n", owner=Owner(id="o"), attributes={"a": "b"}))
EVENTS = [
    *(activity.event(f"e-{kind}", "c", day(0), kind=kind) for kind in types.DATA_BY_TYPE),
    activity.event("p", "c", day(0), kind=types.PROFILE, data=PROFILE),
    activity.event("t", "", day(0), kind=types.TICK),
]


def _changed(customer: str, sequence: int) -> bytes:
    return msgspec.json.encode(
        changes.CustomerChanged(
            customer_id=customer, sequence=sequence, kind="segment_entered", at=day(0),
            segment="s", segment_version=1, after="x",
        )
    )  # fmt: skip


def _treated(customer: str, task: str) -> bytes:
    return msgspec.json.encode(
        treatment.TreatmentRecorded(
            customer_id=customer, kind="task_raised", at=day(0), task_id=task, revision=1,
            probability=0.5, until=day(9),
        )
    )  # fmt: skip


CHANGED = [_changed("c", 1)]
TREATED = [_treated("c", "t")]
RISKS = [risk.ENCODER.encode(assessed(1, 0.0))]


def good_message(topic: str, customer: str, number: int) -> bytes:
    """Build a good message of any topic; `number` grows with each message."""
    name = f"ordinary-{number}"
    if topic == topics.RAW.name:
        return encoded(id=name, subject=customer)
    if topic == topics.ACTIVITY.name:
        return activity.event(f"activity-{number}", customer, day(0))
    if topic == topics.RISK.name:
        return risk.ENCODER.encode(assessed(number + 1, 0.0, customer_id=customer))
    if topic == topics.CHANGES.name:
        return _changed(customer, number + 1)
    return _treated(customer, name)
