"""A 纷享销客 Fxiaoke on loopback: both styles of tokens, one custom object."""

import itertools
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from tests.fakes.crm.serving import Served, answer

APP_ID, APP_SECRET, PERMANENT_CODE = "FSAID_1", "fx-app-secret", "fx-permanent-code"
COMPANY, USER = "fx-company", "1000"
OBJECT = "object_churn__c"
FIELDS = {
    "name": {"is_required": True, "type": "text"},
    "due__c": {"is_required": False, "type": "date_time"},
    "reasons__c": {"is_required": False, "type": "long_text"},
    "status__c": {"is_required": False, "type": "select_one"},
    "outcome__c": {"is_required": False, "type": "select_one"},
    "churn_task_key__c": {"is_required": False, "type": "text"},
    "owner": {"is_required": True, "type": "employee"},
    "last_modified_time": {"is_required": False, "type": "date_time"},
}


@dataclass(slots=True)
class FakeFxiaoke(Served):
    """Keeps records and tokens. Its clock is `now`."""

    now: datetime = datetime(2026, 3, 1, 9, tzinfo=UTC)
    records: dict[str, dict[str, Any]] = field(default_factory=dict)
    codes: list[int] = field(default_factory=list)
    """Error codes of the next creates, used up from the front."""
    gives_id: bool = True
    """Whether a create answers with a `dataId`: the documentation's sample does not."""
    accepts_tokens: bool = True
    tokens: list[str] = field(default_factory=list)
    asking: int = 0
    asking_most: int = 0
    """Largest number of simultaneous token requests."""
    _ids: Any = field(default_factory=lambda: itertools.count(1))

    def expire(self) -> None:
        """Expire every access token."""
        self.tokens.append("expired")

    def touch(self, remote_id: str, **values: Any) -> None:
        """Change a record, as a user of the CRM does."""
        ms = round(self.now.timestamp() * 1000)
        self.records[remote_id] |= values | {"last_modified_time": ms}

    def by_key(self, key: str) -> list[dict[str, Any]]:
        """Return the records with our key."""
        return [each for each in self.records.values() if each.get("churn_task_key__c") == key]

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_post("/oauth2.0/token", self._token)
        app.router.add_post("/cgi/corpAccessToken/get/V2", self._old_token)
        app.router.add_post("/cgi/crm/v2/object/describe", self._describe)
        for action, handler in (
            ("create", self._create),
            ("update", self._update),
            ("query", self._query),
        ):
            app.router.add_post(f"/cgi/crm/custom/v2/data/{action}", handler)
        return app

    def _credentials_wrong(self, body: dict[str, Any]) -> web.Response | None:
        expected = (APP_ID, APP_SECRET, PERMANENT_CODE)
        if (body.get("appId"), body.get("appSecret"), body.get("permanentCode")) == expected:
            return None
        return answer({"errorCode": 10006, "errorMessage": "appSecret is wrong"})

    async def _token(self, request: web.Request) -> web.Response:
        body = await request.json()
        if wrong := self._credentials_wrong(body):
            return wrong
        if body.get("grantType") != "app_secret" or "thirdTraceId" not in request.query:
            return answer({"errorCode": 10013, "errorMessage": "parameter"})
        return self._given({"accessToken": self._new_token(), "ea": COMPANY})

    async def _old_token(self, request: web.Request) -> web.Response:
        if wrong := self._credentials_wrong(await request.json()):
            return wrong
        return self._given({"corpAccessToken": self._new_token(), "corpId": COMPANY})

    def _new_token(self) -> str:
        self.tokens.append(f"fx-access-{len(self.tokens)}")
        return self.tokens[-1]

    def _given(self, names: dict[str, str]) -> web.Response:
        return answer({**names, "expiresIn": 7200, "errorCode": 0, "errorMessage": "success"})

    async def _body(self, request: web.Request) -> dict[str, Any] | web.Response:
        """Return the request's body if the caller is authorised, in the new style or in the old
        one."""
        body: dict[str, Any] = await request.json()
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme == "Bearer":
            company, user = request.headers.get("x-fs-ea"), request.headers.get("x-fs-userid")
        else:
            token, company, user = (
                str(body.get(name, ""))
                for name in ("corpAccessToken", "corpId", "currentOpenUserId")
            )
        if not token:
            return answer({"errorCode": 20017, "errorMessage": "no authorisation"})
        if not self.accepts_tokens or not self.tokens or token != self.tokens[-1]:
            return answer({"errorCode": 20016, "errorMessage": "token"})
        if company != COMPANY or not user:
            return answer({"errorCode": 10013, "errorMessage": "parameter"})
        return body

    async def _describe(self, request: web.Request) -> web.Response:
        body = await self._body(request)
        if isinstance(body, web.Response):
            return body
        described = {"api_name": body["data"]["apiName"], "fields": FIELDS}
        return answer(_ok(data={"describe": described}))

    async def _create(self, request: web.Request) -> web.Response:
        body = await self._body(request)
        if isinstance(body, web.Response):
            return body
        if self.codes:
            return answer({"errorCode": self.codes.pop(0), "errorMessage": "as told"})
        record = dict(body["data"]["object_data"])
        if record.pop("dataObjectApiName", None) != OBJECT:
            return answer({"errorCode": 10013, "errorMessage": "object"})
        remote_id = f"68fa{next(self._ids):020d}"
        self.records[remote_id] = {**record, "_id": remote_id}
        self.touch(remote_id)
        return answer(_ok(**({"dataId": remote_id} if self.gives_id else {})))

    async def _update(self, request: web.Request) -> web.Response:
        body = await self._body(request)
        if isinstance(body, web.Response):
            return body
        record = dict(body["data"]["object_data"])
        record.pop("dataObjectApiName", None)
        if record.get("_id") not in self.records:
            return answer({"errorCode": 10013, "errorMessage": "no such record"})
        self.touch(record["_id"], **record)
        return answer(_ok())

    async def _query(self, request: web.Request) -> web.Response:
        body = await self._body(request)
        if isinstance(body, web.Response):
            return body
        wanted = body["data"]["search_query_info"]
        if wanted["limit"] > 100 or wanted["offset"] % wanted["limit"]:
            return answer({"errorCode": 10013, "errorMessage": "offset"})
        rows = [r for r in self.records.values() if all(_holds(r, f) for f in wanted["filters"])]
        for order in wanted.get("orders", ()):
            rows.sort(key=lambda row, name=order["fieldName"]: str(row[name]))  # type: ignore[misc]
        page = rows[wanted["offset"] : wanted["offset"] + wanted["limit"]]
        return answer(_ok(data={"dataList": page, "total": len(rows)}))


def _ok(**more: Any) -> dict[str, Any]:
    return {"errorCode": 0, "errorMessage": "OK", "errorDescription": "success", **more}


def _holds(row: dict[str, Any], wanted: dict[str, Any]) -> bool:
    found, value = row.get(wanted["field_name"]), wanted["field_values"][0]
    return int(found or 0) > int(value) if wanted["operator"] == "GT" else str(found) == value
