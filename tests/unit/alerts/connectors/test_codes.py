"""A vendor's code counts only as a whole number: a value that merely equals one does not."""

import json
from typing import Any

import pytest

from services.alerts.connectors.fxiaoke import api as fxiaoke
from services.alerts.connectors.wecom import api as wecom
from services.alerts.delivery.core.retry import Reply

NO_CODES: tuple[Any, ...] = (False, True, 0.0, -0.0, "0", None, [], [0], {}, {"0": 0}, 10**30)


@pytest.mark.parametrize("code", NO_CODES)
def test_what_is_no_whole_number_is_no_success(code: object) -> None:
    shown = json.dumps({"errorCode": code, "errcode": code, "dataId": "1", "msgid": "m"}).encode()
    assert fxiaoke.read(Reply(200, body=shown)).result == "ambiguous"
    assert wecom.read(Reply(200, body=shown), None).result == "ambiguous"


def test_zero_is_a_success() -> None:
    assert fxiaoke.read(Reply(200, body=b'{"errorCode": 0}')).result == "ok"
    assert wecom.read(Reply(200, body=b'{"errcode": 0}'), None).result == "ok"
