"""企业微信: cards and group messages; a message that is shown to no member has failed."""

from datetime import timedelta

import pytest

from services.alerts.connectors.wecom.connector import WecomApp
from tests.fakes.crm.wecom import FakeWecom
from tests.integration.crm.connector_kit import Kit
from tests.unit.alerts.connectors.notices import closed, task

ZHANGSAN = {("crm", "o-1"): "zhangsan"}


async def test_a_task_becomes_a_card_with_buttons(crm: Kit, wecom: FakeWecom) -> None:
    crm.owners.rows = dict(ZHANGSAN)
    sent = await crm.attempt(crm.make("wecom_app", wecom), task())
    [message] = wecom.messages
    assert (sent.result, sent.remote_id) == ("ok", "m1")
    assert message["touser"] == "zhangsan"
    assert message["template_card"]["task_id"] == f"{task().id}@1"
    assert [b["key"] for b in message["template_card"]["button_list"]] == [
        "reached", "action_taken", "leaving", "wrong_alarm",
    ]  # fmt: skip


async def test_16_45009_is_retried(crm: Kit, wecom: FakeWecom) -> None:
    crm.owners.rows = dict(ZHANGSAN)
    made = crm.make("wecom_app", wecom)
    wecom.codes.append(45009)
    assert (await crm.attempt(made, task())).result == "retry"
    assert (await crm.attempt(made, task())).result == "ok"


async def test_16_42014_on_a_retry_is_a_card_that_has_been_shown(
    crm: Kit, wecom: FakeWecom
) -> None:
    crm.owners.rows = dict(ZHANGSAN)
    made = crm.make("wecom_app", wecom)
    wecom.troubles["/message/send"] = ["lost"]
    assert (await crm.attempt(made, task())).result == "ambiguous"
    assert (await crm.attempt(made, task())).result == "ok"
    assert len(wecom.messages) == 1


async def test_16_an_owner_in_invaliduser_is_a_failed_delivery(crm: Kit, wecom: FakeWecom) -> None:
    crm.owners.rows = {("crm", "o-1"): "nobody"}
    answer = await crm.attempt(crm.make("wecom_app", wecom), task())
    assert answer.result == "permanent"
    assert answer.error == "the owner is in invaliduser: nothing was shown"


@pytest.mark.parametrize(
    ("code", "result"),
    [(81013, "permanent"), (45033, "retry"), (-1, "retry"), (60020, "endpoint_dead")],
)
async def test_16_each_code_is_read_as_what_it_means(
    crm: Kit, wecom: FakeWecom, code: int, result: str
) -> None:
    crm.owners.rows = dict(ZHANGSAN)
    wecom.codes.append(code)
    assert (await crm.attempt(crm.make("wecom_app", wecom), task())).result == result


async def test_an_expired_token_is_renewed_once(crm: Kit, wecom: FakeWecom) -> None:
    crm.owners.rows = dict(ZHANGSAN)
    made = crm.make("wecom_app", wecom)
    await crm.attempt(made, task())
    wecom.expire()
    crm.clock.pass_by(timedelta(seconds=1))
    assert (await crm.attempt(made, task(id="rt_2"))).result == "ok"
    assert len(wecom.calls("/gettoken")) == 2


async def test_a_card_is_changed_with_a_new_token_where_the_old_one_has_ended(
    crm: Kit, wecom: FakeWecom
) -> None:
    crm.owners.rows = dict(ZHANGSAN)
    made = crm.make("wecom_app", wecom)
    assert isinstance(made, WecomApp)
    await crm.attempt(made, task())
    wecom.expire()
    crm.clock.pass_by(timedelta(seconds=1))
    assert (await made.answered("zhangsan", "code-1", "已联系")).result == "ok"
    assert wecom.updates[0]["button"] == {"replace_name": "已联系"}


async def test_an_end_that_the_owner_caused_is_not_sent_to_the_owner(
    crm: Kit, wecom: FakeWecom
) -> None:
    crm.owners.rows = dict(ZHANGSAN)
    made = crm.make("wecom_app", wecom)
    assert (await crm.attempt(made, closed(task(), "verdict"))).result == "ok"
    assert wecom.messages == []
    await crm.attempt(made, closed(task()))
    assert wecom.messages[0]["text"]["content"] == "任务已关闭：上海示例（客户已回购）"


async def test_a_group_message_mentions_the_owner(crm: Kit, wecom: FakeWecom) -> None:
    crm.owners.rows = dict(ZHANGSAN)
    assert (await crm.attempt(crm.make("wecom_bot", wecom), task())).result == "ok"
    [message] = wecom.group
    assert message["markdown"]["content"].endswith("<@zhangsan>")


async def test_a_group_gets_a_task_without_an_owner(crm: Kit, wecom: FakeWecom) -> None:
    crm.owners.rows = {}
    assert (await crm.attempt(crm.make("wecom_bot", wecom), task())).result == "ok"
    assert "<@" not in wecom.group[0]["markdown"]["content"]


async def test_16_the_21st_message_in_a_minute_waits_for_the_next(
    crm: Kit, wecom: FakeWecom
) -> None:
    made = crm.make("wecom_bot", wecom)
    results = [(await crm.attempt(made, task(id=f"rt_{n}"))).result for n in range(21)]
    assert results == ["ok"] * 20 + ["retry"]
    wecom.now += timedelta(minutes=1)
    assert (await crm.attempt(made, task(id="rt_20"))).result == "ok"


async def test_a_wrong_bot_key_switches_the_endpoint_off_and_is_in_no_message(
    crm: Kit, wecom: FakeWecom
) -> None:
    wecom.codes.append(93000)
    answer = await crm.attempt(crm.make("wecom_bot", wecom), task())
    assert answer.result == "endpoint_dead"
    assert "693a91f6" not in repr(answer)


async def test_a_member_is_not_sent_more_than_is_shown(crm: Kit, wecom: FakeWecom) -> None:
    """WeCom silently drops a member's 31st message of a minute; ours waits."""
    crm.owners.rows = dict(ZHANGSAN)
    made = crm.make("wecom_app", wecom)
    waiting = [task(id=f"rt_{n}") for n in range(40)]
    seconds = 0
    while waiting:
        waiting = [t for t in waiting if (await crm.attempt(made, t)).result != "ok"]
        crm.clock.pass_by(timedelta(seconds=10))
        wecom.now = crm.clock.now() - timedelta(seconds=10)
        seconds += 10
    assert len(wecom.shown["zhangsan"]) == 40
    assert seconds <= 120
