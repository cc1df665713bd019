"""A Zoho CRM on loopback: accounts server and API v8, as far as tasks need them."""

import itertools
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from aiohttp import web

from tests.fakes.crm.serving import Served, answer

REFRESH_TOKEN = "1000.refresh"
CLIENT_ID, CLIENT_SECRET = "1000.CLIENT", "zoho-client-secret"
TASK_FIELDS = (
    ("Subject", "text", True),
    ("Due_Date", "date", False),
    ("Priority", "picklist", False),
    ("Status", "picklist", False),
    ("Description", "textarea", False),
    ("Owner", "ownerlookup", False),
    ("What_Id", "lookup", False),
    ("Churn_Task_Key", "text", False),
    ("Churn_Outcome", "picklist", False),
    ("Modified_Time", "datetime", False),
)
CONDITION = re.compile(r"(\w+) (=|>=|is not null)(?: '((?:[^'\\]|\\.)*)')?")


@dataclass(slots=True)
class FakeZoho(Served):
    """Keeps records, tokens and channels. Its clock is `now`."""

    now: datetime = datetime(2026, 3, 1, 9, tzinfo=UTC)
    records: dict[str, dict[str, Any]] = field(default_factory=dict)
    unique: bool = True
    """Whether the key field does not allow duplicates."""
    refusals: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    """Status and outcome of the next creates, used up from the front."""
    channels: list[dict[str, Any]] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    """Access tokens given, the newest last; only that one is good."""
    _ids: Any = field(default_factory=lambda: itertools.count(5540000000000001))

    def expire(self) -> None:
        """Expire every access token."""
        self.tokens.append("expired")

    def touch(self, remote_id: str, **values: Any) -> None:
        """Change a record, as a user of the CRM does."""
        self.records[remote_id] |= values | {"Modified_Time": self.now.isoformat()}

    def by_key(self, key: str) -> list[dict[str, Any]]:
        """Return the records with our key."""
        return [each for each in self.records.values() if each.get("Churn_Task_Key") == key]

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_post("/oauth/v2/token", self._token)
        app.router.add_get("/crm/v8/users", self._users)
        app.router.add_get("/crm/v8/org", self._org)
        app.router.add_get("/crm/v8/settings/fields", self._fields)
        app.router.add_get("/crm/v8/settings/modules", self._modules)
        app.router.add_post("/crm/v8/coql", self._coql)
        app.router.add_post("/crm/v8/actions/watch", self._watch)
        app.router.add_post("/crm/v8/Tasks", self._create)
        app.router.add_put("/crm/v8/Tasks", self._update)
        app.router.add_put("/crm/v8/Tasks/{id}", self._update)
        app.router.add_get("/crm/v8/Tasks/{id}", self._read)
        return app

    async def _token(self, request: web.Request) -> web.Response:
        form = dict(await request.post()) or dict(request.query)
        if form.get("client_secret") != CLIENT_SECRET:
            return answer({"error": "invalid_client"})
        if form.get("refresh_token") != REFRESH_TOKEN:
            return answer({"error": "invalid_code"})
        self.tokens.append(f"1000.access-{len(self.tokens)}")
        return answer(
            {
                "access_token": self.tokens[-1],
                "api_domain": self.url,
                "token_type": "Bearer",
                "expires_in": 3600,
            }
        )

    def _refused(self, request: web.Request) -> web.Response | None:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme == "Zoho-oauthtoken" and self.tokens and token == self.tokens[-1]:
            return None
        refusal = {"code": "INVALID_TOKEN", "details": {}, "message": "", "status": "error"}
        return answer(refusal, 401)

    async def _users(self, request: web.Request) -> web.Response:
        user = {"id": "554000000000777", "email": "api@example.com", "full_name": "API"}
        return self._refused(request) or answer({"users": [user], "info": _info(1)})

    async def _org(self, request: web.Request) -> web.Response:
        org = {"id": "554", "zgid": "554", "company_name": "Example", "zia_portal_id": "554"}
        return self._refused(request) or answer({"org": [org]})

    async def _modules(self, request: web.Request) -> web.Response:
        modules = [{"api_name": "Tasks", "id": "5540001", "generated_type": "default"}]
        return self._refused(request) or answer({"modules": modules})

    async def _fields(self, request: web.Request) -> web.Response:
        fields = [
            {"api_name": name, "data_type": kind, "system_mandatory": needed, "id": str(number)}
            for number, (name, kind, needed) in enumerate(TASK_FIELDS, start=1)
        ]
        return self._refused(request) or answer({"fields": fields})

    async def _create(self, request: web.Request) -> web.Response:
        if refused := self._refused(request):
            return refused
        outcomes = [self._created(record) for record in (await request.json())["data"]]
        return answer({"data": [each for _, each in outcomes]}, max(s for s, _ in outcomes))

    def _created(self, record: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if self.refusals:
            status, outcome = self.refusals.pop(0)
            return status, {"details": {}, "message": "", "status": "error"} | outcome
        if "Subject" not in record:
            missing = {"api_name": "Subject", "json_path": "$.data[0].Subject"}
            return 202, _refusal("MANDATORY_NOT_FOUND", missing)
        there = self.by_key(record["Churn_Task_Key"]) if "Churn_Task_Key" in record else []
        if self.unique and there:
            details: dict[str, Any] = {
                "api_name": "Churn_Task_Key",
                "duplicate_record": {"id": there[0]["id"]},
            }
            return 202, _refusal("DUPLICATE_DATA", details)
        remote_id = str(next(self._ids))
        self.records[remote_id] = {**record, "id": remote_id}
        self.touch(remote_id)
        return 201, self._done(remote_id, "record added")

    async def _update(self, request: web.Request) -> web.Response:
        if refused := self._refused(request):
            return refused
        outcomes = []
        for record in (await request.json())["data"]:
            remote_id = request.match_info.get("id") or str(record["id"])
            if remote_id not in self.records:
                outcomes.append(_refusal("INVALID_DATA", {"api_name": "id"}))
                continue
            self.touch(remote_id, **{k: v for k, v in record.items() if k != "id"})
            outcomes.append(self._done(remote_id, "record updated"))
        return answer({"data": outcomes})

    async def _read(self, request: web.Request) -> web.Response:
        if refused := self._refused(request):
            return refused
        found = self.records.get(request.match_info["id"])
        return answer({"data": [found]}) if found else web.Response(status=204)

    async def _coql(self, request: web.Request) -> web.Response:
        if refused := self._refused(request):
            return refused
        query = (await request.json())["select_query"]
        parsed = re.fullmatch(
            r"select ([\w, ]+) from (\w+) where (.+?)(?: order by (\w+) asc)?"
            r"(?: limit (?:(\d+), ?)?(\d+))?",
            query,
        )
        if parsed is None:
            return answer(_refusal("SYNTAX_ERROR", {}), 400)
        names, _, where, order, offset, limit = parsed.groups()
        tests = CONDITION.findall(where)
        rows = [r for r in self.records.values() if all(_holds(r, *test) for test in tests)]
        if order:
            rows.sort(key=lambda row: str(row[order]))
        start, most = int(offset or 0), int(limit or 200)
        page = rows[start : start + most]
        if not page:
            return web.Response(status=204)
        wanted = [*names.split(", "), "id"]
        shown = [{name: row.get(name) for name in wanted} for row in page]
        return answer({"data": shown, "info": _info(len(page), more=len(rows) > start + most)})

    async def _watch(self, request: web.Request) -> web.Response:
        if refused := self._refused(request):
            return refused
        outcomes = []
        for wanted in (await request.json())["watch"]:
            longest = self.now + timedelta(days=7)
            expiry = datetime.fromisoformat(wanted.get("channel_expiry") or "1970-01-01T00:00:00Z")
            expiry = expiry if self.now < expiry <= longest else self.now + timedelta(hours=1)
            self.channels.append({**wanted, "channel_expiry": expiry})
            events = [{"channel_id": wanted["channel_id"], "channel_expiry": expiry.isoformat()}]
            outcomes.append(
                {
                    "code": "SUCCESS",
                    "details": {"events": events},
                    "message": "Successfully subscribed",
                    "status": "success",
                }
            )
        return answer({"watch": outcomes}, 201)

    def notification(self, remote_id: str) -> dict[str, Any]:
        """Return what Zoho posts to the newest channel's address when a record was edited."""
        channel = self.channels[-1]
        return {
            "server_time": round(self.now.timestamp() * 1000),
            "query_params": {},
            "module": "Tasks",
            "resource_uri": f"{self.url}/crm/v8/Tasks",
            "ids": [remote_id],
            "operation": "update",
            "channel_id": channel["channel_id"],
            "token": channel["token"],
        }

    def _done(self, remote_id: str, message: str) -> dict[str, Any]:
        at = self.now.isoformat()
        who = {"id": "554000000000777", "name": "API"}
        details = {
            "id": remote_id,
            "Created_Time": at,
            "Modified_Time": at,
            "Created_By": who,
            "Modified_By": who,
        }
        return {"code": "SUCCESS", "details": details, "message": message, "status": "success"}


def _refusal(code: str, details: dict[str, Any]) -> dict[str, Any]:
    return {"code": code, "details": details, "message": "refused", "status": "error"}


def _info(count: int, *, more: bool = False) -> dict[str, Any]:
    return {"count": count, "more_records": more, "per_page": 200, "page": 1}


def _holds(row: dict[str, Any], name: str, operator: str, value: str) -> bool:
    found = row.get(name)
    if operator == "is not null":
        return found is not None
    if operator == ">=":
        at = datetime.fromisoformat(str(found))
        return at >= datetime.fromisoformat(value)
    return found == value.replace("\\'", "'").replace("\\\\", "\\")
