"""The message about a task that a webhook receives."""

from datetime import timedelta

import msgspec

from services.alerts.core.policy import Closed, OpenTask
from services.alerts.core.task import close
from services.alerts.core.webhook_payload import (
    body,
    delivery_id,
    payload_of,
    treatment,
)
from shared.contracts.events import ID_LENGTH_MAX, Owner, Profile
from shared.contracts.risk import Reason
from tests.unit.alerts.samples import SILENT, day, raised_task

PAYLOAD_BYTES_MAX = 20_000
"""The maximum size that Standard Webhooks recommends."""


def ended() -> Closed:
    task = raised_task()
    return Closed(OpenTask(task.id, task.cause, task.opened_at), day(2), "came_back")


def test_the_owners_language_is_chosen() -> None:
    chinese = raised_task(Profile(language="zh-CN"))
    assert payload_of(chinese).language == "zh-CN"
    assert payload_of(chinese).reasons[0].text == "通常每 9 天购买一次，现已 20 天未购买"
    assert payload_of(raised_task(Profile(language="de"))).language == "en"


def test_a_customer_without_a_profile_has_no_owner() -> None:
    assert payload_of(raised_task(Profile())).owner is None


def test_due_by_band() -> None:
    assert raised_task().due_at == raised_task().opened_at + timedelta(days=3)


def test_a_closed_task_has_a_higher_version_and_another_message_id() -> None:
    task = raised_task()
    after = close(task, ended())
    assert after.version == task.version + 1
    assert delivery_id(after, "crm") != delivery_id(task, "crm") != delivery_id(task, "erp")
    assert treatment(after).detail == "came_back"
    assert (treatment(task).at, treatment(after).at) == (day(0), day(2))


def test_the_largest_task_stays_within_what_the_specification_advises() -> None:
    long = "中" * 200
    task = raised_task(
        Profile(name=long, owner=Owner(id="😀" * ID_LENGTH_MAX, name=long), language="zh"),
        customer_id="😀" * ID_LENGTH_MAX,
        reasons=[SILENT] * 10,
    )
    assert len(body(task)) < PAYLOAD_BYTES_MAX


def test_numbers_are_rounded_for_people() -> None:
    task = raised_task(probability=0.123456789, value_at_risk=12.3456)
    decoded = msgspec.json.decode(body(task))["data"]["task"]
    assert (decoded["probability"], decoded["value_at_risk"]) == (0.1235, 12.35)


def test_an_unknown_reason_is_worded_in_general() -> None:
    task = raised_task(reasons=[Reason(code="new_kind", impact=1.0, facts={})])
    assert payload_of(task).cause == "new_kind"
    assert payload_of(task).reasons[0].text
