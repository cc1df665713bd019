"""The whole webhook body that receivers depend on: a change here breaks receivers."""

import msgspec

from services.alerts.core.policy import Closed, OpenTask
from services.alerts.core.task import close
from services.alerts.core.webhook_payload import body
from shared.contracts.events import Owner, Profile
from tests.unit.alerts.samples import day, raised_task

PROFILE = Profile(name="Household 1", owner=Owner(id="o-1", name="Ann"), language="en-US")

OPENED = {
    "type": "retention_task.opened",
    "timestamp": "2017-10-02T09:00:00Z",
    "data": {
        "task": {
            "id": "rt_ID",
            "version": 1,
            "status": "open",
            "cause": "silence_beyond_rhythm",
            "customer": {"id": "c-1", "name": "Household 1"},
            "owner": {"id": "o-1", "name": "Ann"},
            "band": "high",
            "probability": 0.6,
            "horizon_days": 28,
            "reasons": [
                {
                    "code": "silence_beyond_rhythm",
                    "text": "Buys every 9 days, now silent for 20 days",
                }
            ],
            "language": "en",
            "value_at_risk": 60.0,
            "currency": "USD",
            "opened_at": "2017-10-02T09:00:00Z",
            "due_at": "2017-10-05T09:00:00Z",
            "lapse_probability": 0.6,
            "lapse_days": 30.0,
        }
    },
}


def test_the_payload_of_an_opened_task() -> None:
    task = raised_task(PROFILE)
    assert task.id.startswith("rt_")
    OPENED["data"]["task"]["id"] = task.id  # type: ignore[index] # a literal of mixed types
    assert msgspec.json.decode(body(task)) == OPENED


def test_closed_adds_when_and_why() -> None:
    task = raised_task(PROFILE)
    ended = Closed(OpenTask(task.id, task.cause, task.opened_at), day(2), "came_back")
    reported = msgspec.json.decode(body(close(task, ended)))
    assert reported["type"] == "retention_task.closed"
    assert reported["timestamp"] == "2017-10-04T09:00:00Z"
    assert reported["data"]["task"] == OPENED["data"]["task"] | {  # type: ignore[index]
        "id": task.id,
        "version": 2,
        "status": "closed",
        "closed_at": "2017-10-04T09:00:00Z",
        "close_reason": "came_back",
    }
