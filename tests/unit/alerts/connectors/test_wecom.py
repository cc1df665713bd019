"""WeCom's texts and its callback scheme (DELIVERY 3.3 and 4.3)."""

import json

import pytest

from services.alerts.connectors.core.config import WecomAppConfig, WecomBotConfig
from services.alerts.connectors.wecom import api as wecom
from services.alerts.connectors.wecom import crypto
from services.alerts.delivery.core.retry import Reply
from shared.contracts.events import Owner, Profile
from shared.kernel.errors import Invalid
from tests.fakes.crm.wecom import AGENT_ID, CALLBACK_AES_KEY, CALLBACK_TOKEN, CORP_ID, FakeWecom
from tests.fakes.crm.wecom_cipher import encrypt
from tests.unit.alerts.connectors.notices import closed, notice, task

APP = WecomAppConfig(corp_id=CORP_ID, agent_id=AGENT_ID)
KEY = crypto.key_of(CALLBACK_AES_KEY)
RANDOM = b"0123456789abcdef"


def test_a_card_has_the_task_in_the_owners_language() -> None:
    card = wecom.card_of(APP, notice(task()))
    assert card["main_title"]["title"] == "挽留任务：上海示例"
    assert card["main_title"]["desc"] == "高风险 · 60%"
    texts = [button["text"] for button in card["button_list"]]
    assert texts == ["已联系", "已采取措施", "客户将流失", "误报"]
    english = task(Profile(name="Ann's", language="en", owner=Owner(id="o-1")))
    card = wecom.card_of(APP, notice(english))
    assert card["main_title"] == {"title": "Win back: Ann's", "desc": "high risk · 60%"}
    assert {"keyname": "Due", "value": "2017-10-05"} in card["horizontal_content_list"]


def test_a_cards_id_is_unique_per_version_and_names_the_task() -> None:
    first, second = notice(task()), notice(task(version=2))
    assert wecom.card_id(first) != wecom.card_id(second)
    assert wecom.task_of(wecom.card_id(second)) == second.key


def test_a_group_message_is_cut_in_bytes_and_never_within_a_character() -> None:
    config = WecomBotConfig(opened="风" * 2000, mention=False)
    call = wecom.bot_call(config, notice(task()), None, "k")
    content = json.loads(call.body)
    assert content["markdown"]["content"] == "风" * (4096 // 3)


def test_a_group_message_mentions_the_owner_and_the_end() -> None:
    opened = wecom.bot_call(WecomBotConfig(), notice(task()), "zhangsan", "k").body.decode()
    assert "挽留任务：上海示例" in opened
    assert "<@zhangsan>" in opened
    ended = wecom.bot_call(WecomBotConfig(), notice(closed(task())), "zhangsan", "k").body.decode()
    assert "任务已关闭：上海示例（客户已回购）" in ended
    assert "<@zhangsan>" not in ended


def test_a_callback_survives_the_way_there_and_back() -> None:
    message = "<xml>风险</xml>".encode()
    sealed = encrypt(message, CORP_ID, KEY, RANDOM)
    assert crypto.decrypt(sealed, CORP_ID, KEY) == message
    signed = crypto.signature(CALLBACK_TOKEN, "1", "n", sealed)
    assert crypto.is_signed(signed, CALLBACK_TOKEN, "1", "n", sealed)
    assert not crypto.is_signed(signed, CALLBACK_TOKEN, "2", "n", sealed)


@pytest.mark.parametrize("length", [0, 1, 11, 12, 31, 32, 33, 1000])
def test_every_length_is_padded_to_blocks_of_32(length: int) -> None:
    sealed = encrypt(b"x" * length, CORP_ID, KEY, RANDOM)
    assert crypto.decrypt(sealed, CORP_ID, KEY) == b"x" * length


def test_17_what_is_for_another_receiver_or_tampered_with_is_refused() -> None:
    sealed = encrypt(b"<xml/>", "ww-other", KEY, RANDOM)
    with pytest.raises(Invalid, match="for another receiver"):
        crypto.decrypt(sealed, CORP_ID, KEY)
    for wrong in ("", "####", sealed[:-8], "AAAA"):
        with pytest.raises(Invalid, match=r"Encrypt: cannot be decrypted"):
            crypto.decrypt(wrong, CORP_ID, KEY)
    with pytest.raises(Invalid, match="cannot be decrypted"):
        crypto.decrypt(sealed, "ww-other", crypto.key_of("A" * 43))


@pytest.mark.parametrize(
    "body",
    [
        b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><xml><Encrypt>&e;</Encrypt></xml>',
        b'<!DOCTYPE x [<!ENTITY a "aa"><!ENTITY b "&a;&a;">]><xml><Encrypt>&b;</Encrypt></xml>',
        b'<!DOCTYPE x SYSTEM "http://127.0.0.1:9/x.dtd"><xml><Encrypt>a</Encrypt></xml>',
        b"<xml><Encrypt>a</Encrypt>",
        b"not xml",
        b"",
    ],
)
def test_17_xml_with_entities_or_broken_is_refused(body: bytes) -> None:
    with pytest.raises(Invalid, match="body: is not the XML of a callback"):
        crypto.encrypted_part(body)


def test_17_xml_without_the_encrypted_part_is_refused() -> None:
    with pytest.raises(Invalid, match="Encrypt: is missing"):
        crypto.encrypted_part(b"<xml><Other>1</Other></xml>")


def test_a_click_is_read_and_other_events_are_not_clicks() -> None:
    fake = FakeWecom()
    found = crypto.click_in(fake.click("zhangsan", "rt_1@1", "reached"))
    assert found is not None
    assert (found.user_id, found.task_id, found.event_key) == ("zhangsan", "rt_1@1", "reached")
    assert crypto.click_in(fake.click("zhangsan", "", "", Event="enter_agent")) is None


@pytest.mark.parametrize("wrong", ["short", "!" * 43, "A" * 44])
def test_an_aes_key_that_is_none_is_refused_without_telling_it(wrong: str) -> None:
    with pytest.raises(Invalid, match="callback_aes_key") as caught:
        crypto.key_of(wrong)
    assert wrong not in str(caught.value)


@pytest.mark.parametrize(("member", "result"), [("zhangsan", "ok"), (None, "permanent")])
def test_only_a_card_can_have_been_shown_before(member: str | None, result: str) -> None:
    """A message to a group has no id that WeCom could know."""
    reply = Reply(200, body=b'{"errcode": 42014, "errmsg": "ok"}')
    assert wecom.read(reply, member).result == result
