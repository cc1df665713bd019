"""A 企业微信 WeCom on loopback: a group bot and an application with cards."""

import itertools
import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from xml.sax.saxutils import escape

from aiohttp import web

from services.alerts.connectors.wecom import crypto
from tests.fakes.crm.serving import Served, answer
from tests.fakes.crm.wecom_cipher import encrypt

CORP_ID, CORP_SECRET, AGENT_ID = "ww1234567890abcdef", "wecom-corp-secret", 1000002
BOT_KEY = "693a91f6-7xxx-4bc4-97a0-0ec2sifa5aaa"
CALLBACK_TOKEN = "QDG6eK"
CALLBACK_AES_KEY = "jWmYm7qr5nMoAUwZRjGtBxmz3KA1tkAj3ykkR6q2B2C"
BOT_PER_MINUTE, MEMBER_PER_MINUTE = 20, 30
MINUTE = timedelta(minutes=1)
TASK_ID = re.compile(r"[0-9A-Za-z_\-@]{1,128}")


@dataclass(slots=True)
class FakeWecom(Served):
    """Keeps messages and cards. Its clock is `now`."""

    now: datetime = datetime(2026, 3, 1, 9, tzinfo=UTC)
    members: set[str] = field(default_factory=lambda: {"zhangsan", "lisi"})
    group: list[dict[str, Any]] = field(default_factory=list)
    group_at: list[datetime] = field(default_factory=list)
    shown: dict[str, list[datetime]] = field(default_factory=dict)
    """Times at which each member was shown something."""
    messages: list[dict[str, Any]] = field(default_factory=list)
    updates: list[dict[str, Any]] = field(default_factory=list)
    codes: list[int] = field(default_factory=list)
    """Error codes of the next messages, used up from the front."""
    tokens: list[str] = field(default_factory=list)
    _numbers: Any = field(default_factory=lambda: itertools.count(1))

    def expire(self) -> None:
        """Expire every access token."""
        self.tokens.append("expired")

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_post("/cgi-bin/webhook/send", self._bot)
        app.router.add_get("/cgi-bin/gettoken", self._token)
        app.router.add_post("/cgi-bin/message/send", self._message)
        app.router.add_post("/cgi-bin/message/update_template_card", self._update)
        return app

    async def _bot(self, request: web.Request) -> web.Response:
        if request.query.get("key") != BOT_KEY:
            return answer(_error(93000))
        if self.codes:
            return answer(_error(self.codes.pop(0)))
        minute = [at for at in self.group_at if at > self.now - MINUTE]
        if len(minute) >= BOT_PER_MINUTE:
            return answer(_error(45009))
        message = await request.json()
        if len(message["markdown"]["content"].encode()) > 4096:
            return answer(_error(40058))
        self.group.append(message)
        self.group_at.append(self.now)
        return answer(_error(0))

    async def _token(self, request: web.Request) -> web.Response:
        if request.query.get("corpid") != CORP_ID:
            return answer(_error(40013))
        if request.query.get("corpsecret") != CORP_SECRET:
            return answer(_error(40001))
        self.tokens.append(f"wecom-access-{len(self.tokens)}")
        return answer(_error(0) | {"access_token": self.tokens[-1], "expires_in": 7200})

    def _refused(self, request: web.Request) -> web.Response | None:
        token = request.query.get("access_token")
        return None if self.tokens and token == self.tokens[-1] else answer(_error(42001))

    async def _message(self, request: web.Request) -> web.Response:
        if refused := self._refused(request):
            return refused
        if self.codes:
            return answer(_error(self.codes.pop(0)))
        message = await request.json()
        card = message.get("template_card")
        if card is not None:
            used = {m.get("template_card", {}).get("task_id") for m in self.messages}
            if not TASK_ID.fullmatch(card["task_id"]) or card["task_id"] in used:
                return answer(_error(42014))
        named = message["touser"].split("|")
        unknown = [name for name in named if name not in self.members]
        if len(named) > 1 and len(unknown) == len(named):
            return answer(_error(81013))
        self.messages.append(message)
        recent = [at for at in self.shown.get(message["touser"], ()) if at > self.now - MINUTE]
        if len(recent) < MEMBER_PER_MINUTE:  # further ones are dropped silently
            self.shown.setdefault(message["touser"], []).append(self.now)
        more = {"invaliduser": "|".join(unknown), "invalidparty": "", "unlicenseduser": ""}
        number = next(self._numbers)
        return answer(_error(0) | more | {"msgid": f"m{number}", "response_code": f"code-{number}"})

    async def _update(self, request: web.Request) -> web.Response:
        if refused := self._refused(request):
            return refused
        update = await request.json()
        if any(update["response_code"] == each["response_code"] for each in self.updates):
            return answer(_error(42045))
        self.updates.append(update)
        return answer(_error(0))

    def click(self, user: str, task_id: str, key: str, **changes: str) -> bytes:
        """Return the event of a pressed button, unencrypted."""
        values = {
            "ToUserName": CORP_ID,
            "FromUserName": user,
            "CreateTime": str(int(self.now.timestamp())),
            "MsgType": "event",
            "Event": "template_card_event",
            "EventKey": key,
            "TaskId": task_id,
            "CardType": "button_interaction",
            "ResponseCode": f"answer-{next(self._numbers)}",
            "AgentID": str(AGENT_ID),
        } | changes
        inner = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in values.items())
        return f"<xml>{inner}</xml>".encode()

    def callback(
        self, message: bytes, *, receive_id: str = CORP_ID, nonce: str = "n-1"
    ) -> tuple[dict[str, str], bytes]:
        """Return query and body of a callback with this message inside."""
        encrypted = encrypt(
            message, receive_id, crypto.key_of(CALLBACK_AES_KEY), b"0123456789abcdef"
        )
        timestamp = str(int(self.now.timestamp()))
        signature = crypto.signature(CALLBACK_TOKEN, timestamp, nonce, encrypted)
        query = {"msg_signature": signature, "timestamp": timestamp, "nonce": nonce}
        body = (
            f"<xml><ToUserName>{CORP_ID}</ToUserName><AgentID>{AGENT_ID}</AgentID>"
            f"<Encrypt>{encrypted}</Encrypt></xml>"
        )
        return query, body.encode()


def _error(code: int) -> dict[str, Any]:
    return {"errcode": code, "errmsg": "ok" if code == 0 else json.dumps(f"as told: {code}")}
