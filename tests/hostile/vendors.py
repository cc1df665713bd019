"""Correct answers of each receiving system, and which answers mean a success.

The harness's own reading of the vendors' documentation, independent of the connectors': an attempt
that counts as delivered without such an answer is a silent misreading.
"""

import json
from typing import Any, Final

from services.alerts.delivery.core.endpoint import Kind
from tests.fakes.crm import fxiaoke, zoho
from tests.hostile.answers import Answer, plain

DONE: Final = {"code": "SUCCESS", "details": {"id": "5540000000000001"}, "status": "success"}
FX: Final = {"errorCode": 0, "errorMessage": "success"}
WECOM: Final = {"errcode": 0, "errmsg": "ok"}
CARD_SHOWN: Final = 42014
"""Answers a card that is sent again: it has been shown."""

GOOD: Final[dict[Kind, tuple[tuple[str, Any], ...]]] = {
    "webhook": (("", {"ok": True}),),
    "zoho": (
        ("/oauth/", {"access_token": "1000.access", "expires_in": 3600}),
        ("/settings/fields", {"fields": [{"api_name": n} for n, _, _ in zoho.TASK_FIELDS]}),
        ("/coql", None),
        ("/actions/watch", {"watch": [DONE]}),
        ("", {"data": [DONE]}),
    ),
    "fxiaoke": (
        ("/oauth2.0/token", {**FX, "accessToken": "fx", "ea": "company", "expiresIn": 7200}),
        ("/describe", {**FX, "data": {"describe": {"fields": fxiaoke.FIELDS}}}),
        ("/query", {**FX, "data": {"dataList": [], "total": 0}}),
        ("", {**FX, "dataId": "68fa00000000000000000001"}),
    ),
    "wecom_bot": (("", WECOM),),
    "wecom_app": (
        ("/gettoken", {**WECOM, "access_token": "wecom", "expires_in": 7200}),
        ("", {**WECOM, "msgid": "m1", "invaliduser": ""}),
    ),
}
"""Part of a path -> content; the first that fits. None: 204."""

TOKENS: Final = ("/oauth/", "/oauth2.0/token", "/gettoken")
"""Paths of token requests: vendors count them, so that most are answered well."""


def good_content(kind: Kind, path: str) -> Any:
    """Returns the content of a good answer at this path."""
    return next(content for part, content in GOOD[kind] if part in path)


def good(kind: Kind, path: str) -> Answer:
    """Returns a good answer at this path."""
    content = good_content(kind, path)
    if content is None:
        return plain(204)
    return plain(200, json.dumps(content).encode(), Content_Type="application/json")


def succeeds(kind: Kind, path: str, answer: Answer) -> bool:
    """Returns whether an attempt may count as delivered after this answer."""
    if answer.status is None or any(part in path for part in TOKENS):
        return False
    if kind == "webhook":
        return 200 <= answer.status < 300
    try:
        content = json.loads(answer.body.decode("utf-8"))
    except (ValueError, RecursionError):
        return False
    if not isinstance(content, dict):
        return False
    if kind == "zoho":
        return _zoho(content, found="/coql" in path)
    code = content.get("errorCode" if kind == "fxiaoke" else "errcode")
    shown = kind == "wecom_app" and code == CARD_SHOWN
    if type(code) is not int or not (code == 0 or shown):
        return False
    data = content.get("data")
    return "/query" not in path or (isinstance(data, dict) and bool(data.get("dataList")))


def _zoho(content: dict[str, Any], *, found: bool) -> bool:
    for name in ("data", "watch"):
        rows = content.get(name)
        if isinstance(rows, list) and rows and isinstance(rows[0], dict):
            return rows[0].get("code") in ("SUCCESS", "DUPLICATE_DATA") or (
                found and "id" in rows[0]
            )
    return content.get("code") in ("SUCCESS", "DUPLICATE_DATA")
