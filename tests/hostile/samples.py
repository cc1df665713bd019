"""Good messages of every topic between the services, to be damaged."""

import msgspec

from shared.contracts import changes, risk, treatment
from shared.contracts import events as types
from shared.contracts.activity import ActivityData
from shared.contracts.events import Owner, Profile
from tests.fakes import activity
from tests.fakes.activity import day
from tests.unit.alerts.samples import assessed

PROFILE = ActivityData(profile=Profile(name="n", owner=Owner(id="o"), attributes={"a": "b"}))
EVENTS = [
    *(activity.event(f"e-{kind}", "c", day(0), kind=kind) for kind in types.DATA_BY_TYPE),
    activity.event("p", "c", day(0), kind=types.PROFILE, data=PROFILE),
    activity.event("t", "", day(0), kind=types.TICK),
]
TOLD = [
    msgspec.json.encode(
        changes.CustomerChanged(
            customer_id="c", sequence=1, kind="segment_entered", at=day(0), segment="s",
            segment_version=1, after="x",
        )
    )
]  # fmt: skip
DONE = [
    msgspec.json.encode(
        treatment.TreatmentRecorded(
            customer_id="c", kind="task_raised", at=day(0), task_id="t", revision=1,
            probability=0.5, until=day(9),
        )
    )
]  # fmt: skip
RISKS = [risk.ENCODER.encode(assessed(1, 0.0))]
