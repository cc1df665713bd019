"""Third-party software against our fakes and our callback scheme.

This shows that neither follows only our own idea of the protocol. The vendors' SDKs drive the
loopback fakes that our connectors are tested on, and WeCom's crypto, in Python and in Node, opens
what we seal and seals what we open.
"""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from services.alerts.connectors.wecom import crypto
from tests.consumers import running
from tests.fakes.crm import fxiaoke as fx
from tests.fakes.crm import zoho as zo
from tests.fakes.crm.fxiaoke import FakeFxiaoke
from tests.fakes.crm.wecom import CALLBACK_AES_KEY, CALLBACK_TOKEN, CORP_ID, FakeWecom
from tests.fakes.crm.wecom_cipher import encrypt
from tests.fakes.crm.zoho import FakeZoho
from tests.integration.crm.connector_kit import Kit
from tests.unit.alerts.connectors.notices import task

NONCE, TIMESTAMP = "n-42", "1772355600"
OTHERS = pytest.mark.parametrize(
    ("run", "script"),
    [(running.python, "wechat_crypto.py"), (running.node, "wecom_crypto.js")],
)


async def test_zohos_own_sdk_works_on_the_fake(crm: Kit, zoho: FakeZoho, tmp_path: Path) -> None:
    arguments = (zoho.url, zo.CLIENT_ID, zo.CLIENT_SECRET, zo.REFRESH_TOKEN, str(tmp_path))
    report = await running.python("zoho_sdk.py", *arguments)
    [remote_id] = zoho.records
    assert report["created"][0]["kind"] == "SuccessResponse"
    assert report["created"][0]["details"]["id"] == remote_id
    assert (report["again"][0]["kind"], report["again"][0]["code"]) == (
        "APIException", "DUPLICATE_DATA",
    )  # fmt: skip
    assert report["found"] == [remote_id]
    assert report["updated"][0]["code"] == "SUCCESS"
    assert report["watched"] == ["SUCCESS"]
    assert zoho.records[remote_id]["Status"] == "Completed"


async def test_our_wire_is_that_of_zohos_own_sdk(crm: Kit, zoho: FakeZoho, tmp_path: Path) -> None:
    """Paths, methods, the form of the token and the shape of a record are the same."""
    arguments = (zoho.url, zo.CLIENT_ID, zo.CLIENT_SECRET, zo.REFRESH_TOKEN, str(tmp_path))
    await running.python("zoho_sdk.py", *arguments)
    theirs = zoho.calls("/Tasks")[0], zoho.calls("/oauth")[0], zoho.calls("/coql")[0]
    zoho.asked.clear()
    await crm.attempt(crm.make("zoho", zoho), task())
    ours = zoho.calls("/Tasks")[0], zoho.calls("/oauth")[0], zoho.calls("/coql")[0]
    for their, our in zip(theirs, ours, strict=True):
        assert (our.method, our.path) == (their.method, their.path)
    assert {*ours[1].body.split(b"&")} == {*theirs[1].body.split(b"&")}
    their_record, our_record = theirs[0].json["data"][0], ours[0].json["data"][0]
    assert {name: type(our_record[name]) for name in their_record} == {
        name: type(value) for name, value in their_record.items()
    }
    assert list(ours[2].json) == list(theirs[2].json) == ["select_query"]


async def test_fxiaoke_python_works_on_the_fake(fxiaoke: FakeFxiaoke) -> None:
    arguments = (fxiaoke.url, fx.APP_ID, fx.APP_SECRET, fx.PERMANENT_CODE, fx.USER, fx.OBJECT)
    report = await running.python("fxiaoke_sdk.py", *arguments)
    [remote_id] = fxiaoke.records
    assert report == {"created": remote_id, "found": [remote_id]}


async def test_our_old_style_wire_is_that_of_fxiaoke_python(crm: Kit, fxiaoke: FakeFxiaoke) -> None:
    arguments = (fxiaoke.url, fx.APP_ID, fx.APP_SECRET, fx.PERMANENT_CODE, fx.USER, fx.OBJECT)
    await running.python("fxiaoke_sdk.py", *arguments)
    theirs = fxiaoke.calls("/data/create")[0]
    fxiaoke.asked.clear()
    crm.tokens.tokens.clear()
    await crm.attempt(crm.make("fxiaoke", fxiaoke, style="old"), task())
    ours = fxiaoke.calls("/data/create")[0]
    assert ours.path == theirs.path
    triggers = {"triggerApprovalFlow", "triggerWorkFlow"}
    assert set(ours.json) - triggers == set(theirs.json)
    assert set(ours.json["data"]) == set(theirs.json["data"])


Run = Callable[..., Awaitable[Any]]


@OTHERS
async def test_others_open_what_we_seal(run: Run, script: str) -> None:
    message = FakeWecom().click("张三", "rt_1@1", "reached", EventKey="风险")
    key = crypto.key_of(CALLBACK_AES_KEY)
    encrypted = encrypt(message, CORP_ID, key, b"0123456789abcdef")
    signed = crypto.signature(CALLBACK_TOKEN, TIMESTAMP, NONCE, encrypted)
    given = {
        "encrypted": encrypted, "signature": signed, "nonce": NONCE, "timestamp": TIMESTAMP,
    }  # fmt: skip
    opened = await run(script, "decrypt", CALLBACK_TOKEN, CALLBACK_AES_KEY, CORP_ID, given=given)
    assert opened["message"] == message.decode()


@OTHERS
async def test_we_open_what_others_seal(run: Run, script: str) -> None:
    message = FakeWecom().click("张三", "rt_1@1", "reached").decode()
    given = {"message": message, "nonce": NONCE, "timestamp": TIMESTAMP}
    sealed = await run(script, "encrypt", CALLBACK_TOKEN, CALLBACK_AES_KEY, CORP_ID, given=given)
    assert crypto.is_signed(
        sealed["signature"], CALLBACK_TOKEN, TIMESTAMP, NONCE, sealed["encrypted"]
    )
    opened = crypto.decrypt(sealed["encrypted"], CORP_ID, crypto.key_of(CALLBACK_AES_KEY))
    assert opened.decode() == message
