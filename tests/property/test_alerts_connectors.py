"""Any answer of a CRM can be read; anything sealed can be opened."""

import json
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from services.alerts.connectors.core.config import FxiaokeConfig, ZohoConfig
from services.alerts.connectors.fxiaoke import api as fxiaoke
from services.alerts.connectors.wecom import api as wecom
from services.alerts.connectors.wecom import crypto
from services.alerts.connectors.zoho import api as zoho
from services.alerts.delivery.core.retry import Answer, Reply
from shared.kernel.errors import Invalid
from tests.fakes.crm.wecom_cipher import encrypt

ZOHO = ZohoConfig(client_id="c")
FXIAOKE = FxiaokeConfig(app_id="a", user_id="1000", object_name="object_x__c")
RESULTS = {"ok", "retry", "refresh_token", "permanent", "endpoint_dead", "ambiguous"}
NAMES = st.sampled_from(
    ["code", "data", "details", "id", "_id", "errorCode", "errcode", "dataList", "access_token",
     "accessToken", "ea", "expires_in", "expiresIn", "Modified_Time", "last_modified_time",
     "invaliduser", "error", "watch", "token", "duplicate_record"]
)  # fmt: skip
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8)
    | st.sampled_from(["SUCCESS", "INVALID_TOKEN", "DUPLICATE_DATA", 0, 20016, 42014]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)  # fmt: skip
REPLIES = st.builds(
    lambda status, content, raw: Reply(status, body=raw or json.dumps(content).encode()),
    st.sampled_from([None, 200, 201, 202, 204, 302, 400, 401, 403, 429, 500, 502]),
    VALUES,
    st.sampled_from([b"", b"", b"<html>", b"\xff\xfe", b"[]"]),
)


@given(REPLIES)
@example(Reply(200, body=b'{"data": [null]}'))
def test_every_answer_is_read_into_one_of_the_six_results(reply: Reply) -> None:
    read: list[Any] = [
        zoho.read(reply), zoho.read_found(reply, ZOHO), zoho.read_token(reply),
        fxiaoke.read(reply), fxiaoke.read_found(reply, FXIAOKE),
        fxiaoke.read_session(reply, FXIAOKE),
        wecom.read(reply, "zhangsan"), wecom.read_token(reply),
    ]  # fmt: skip
    assert all(each.result in RESULTS for each in read if isinstance(each, Answer))
    zoho.is_notification(reply.body, ["token"])


@given(REPLIES)
def test_no_answer_at_all_is_never_a_success(reply: Reply) -> None:
    lost = Reply(None, body=reply.body)
    assert {zoho.read(lost).result, fxiaoke.read(lost).result, wecom.read(lost, "m").result} == {
        "ambiguous"
    }


@given(
    st.binary(max_size=500),
    st.binary(min_size=16, max_size=16),
    st.binary(min_size=32, max_size=32),
)
def test_what_is_sealed_is_opened_and_nothing_else(
    message: bytes, random: bytes, key: bytes
) -> None:
    sealed = encrypt(message, "corp", key, random)
    assert crypto.decrypt(sealed, "corp", key) == message
    try:
        crypto.decrypt(sealed, "other", key)
    except Invalid:
        pass
    else:
        raise AssertionError("opened for another receiver")


@given(st.text(max_size=300) | st.binary(max_size=300).map(lambda b: b.decode("latin-1")))
def test_no_text_breaks_the_opening(sealed: str) -> None:
    try:
        crypto.decrypt(sealed, "corp", b"k" * 32)
    except Invalid:
        return
    raise AssertionError("a random text was opened")


@given(st.binary(max_size=300))
def test_no_bytes_break_the_reading_of_callbacks(body: bytes) -> None:
    for read in (crypto.encrypted_part, crypto.click_in):
        try:
            read(body)
        except Invalid:
            continue


@given(st.text(max_size=400), st.integers(0, 500))
def test_text_is_cut_within_its_bytes(text: str, most: int) -> None:
    cut = wecom.cut(text, most)
    assert len(cut.encode()) <= most
    assert text.startswith(cut)
