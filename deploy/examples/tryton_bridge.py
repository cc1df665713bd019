"""A bridge from Ebbwatch's webhooks to the ERP Tryton: each task becomes an opportunity, once.

    TRYTON_BRIDGE_WEBHOOK_SECRET=whsec_… TRYTON_BRIDGE_TRYTON_URL=http://erp:8000/production \
    TRYTON_BRIDGE_USER=ebbwatch TRYTON_BRIDGE_PASSWORD=… python -m deploy.examples.tryton_bridge

An example of connecting a system without a connector: verify, find the task by its id, create or
change it, and answer 2xx only then. Every error is answered with 503, so that the message comes
again; the bridge stores nothing. `standardwebhooks` does the verification.
"""

import base64
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Final

import httpx
import uvicorn
from fastapi import FastAPI, HTTPException, Request, Response
from pydantic import SecretStr
from pydantic_settings import SettingsConfigDict
from standardwebhooks import Webhook, WebhookVerificationError

from shared.runtime.settings import HttpSettings

BODY_BYTES_MAX: Final = 64 * 1024
"""A webhook stays below 20 kB by its specification; three times that is refused."""

TIMEOUT_S: Final = 10.0
"""Seconds for one call to Tryton: less than the 15 s that Ebbwatch waits for us."""


class TrytonSettings(HttpSettings):
    """Read from `TRYTON_BRIDGE_*`."""

    model_config = SettingsConfigDict(env_prefix="TRYTON_BRIDGE_")

    port: int = 8091
    webhook_secret: SecretStr
    tryton_url: str
    """Address of the database: `http://host:8000/name`."""
    user: str
    password: SecretStr


class Refused(Exception):  # noqa: N818 (Tryton's word stands in it)
    """Tryton refused a call."""


@dataclass(slots=True)
class Tryton:
    """A client of Tryton's JSON-RPC, which logs in when necessary."""

    url: str
    user: str
    password: SecretStr
    http: httpx.AsyncClient
    _session: str | None = field(default=None, repr=False)

    async def call(self, method: str, *params: Any) -> Any:
        """Return the result of a method; Refused with Tryton's reason."""
        if self._session is None:
            await self._login()
        answer = await self._post(method, params, {"authorization": f"Session {self._session}"})
        if answer.status_code == httpx.codes.UNAUTHORIZED:
            await self._login()
            answer = await self._post(method, params, {"authorization": f"Session {self._session}"})
        return _result(answer)

    async def context(self) -> Any:
        """Return the preferences of the user we act as: company, employee, language."""
        only_context = True
        return await self.call("model.res.user.get_preferences", only_context, {})

    async def _login(self) -> None:
        params = (self.user, {"password": self.password.get_secret_value()}, "en")
        user_id, key, *_ = _result(await self._post("common.db.login", params, {}))
        self._session = base64.b64encode(f"{self.user}:{user_id}:{key}".encode()).decode()

    async def _post(
        self, method: str, params: tuple[Any, ...], headers: dict[str, str]
    ) -> httpx.Response:
        body = {"id": 1, "method": method, "params": list(params)}
        return await self.http.post(f"{self.url}/rpc/", json=body, headers=headers)


def _result(answer: httpx.Response) -> Any:
    if answer.status_code != httpx.codes.OK:
        raise Refused(f"HTTP {answer.status_code}")
    content = answer.json()
    if isinstance(content, dict) and "error" in content:
        raise Refused(str(content["error"][:1]))
    return content["result"] if isinstance(content, dict) else content


class Opportunities:
    """Keeps Tryton's opportunities equal to Ebbwatch's tasks.

    The `reference` of an opportunity is the task's id.
    """

    def __init__(self, tryton: Tryton) -> None:
        self._tryton = tryton

    async def take(self, task: dict[str, Any]) -> None:
        """Create, change or end the opportunity of a task. Doing it twice changes nothing."""
        context = await self._tryton.context()
        found = await self._first("sale.opportunity", [["reference", "=", task["id"]]], context)
        if found is None and task["status"] == "closed":
            return  # it ended before a user had to see it
        values = _values(task)
        if found is None:
            values |= await self._people(task, context)
            values |= {"reference": task["id"], "start_date": _date(task["opened_at"])}
            await self._tryton.call("model.sale.opportunity.create", [values], context)
            return
        [now] = await self._tryton.call("model.sale.opportunity.read", [found], ["state"], context)
        if now["state"] not in {"lead", "opportunity"}:
            return  # a user has ended it, and that decision counts
        await self._tryton.call("model.sale.opportunity.write", [found], values, context)
        if task["status"] == "closed":
            await self._tryton.call("model.sale.opportunity.cancel", [found], context)

    async def _people(self, task: dict[str, Any], context: Any) -> dict[str, Any]:
        """Return the customer, created if Tryton has none, and the owner if Tryton has one."""
        customer = task["customer"]
        party = await self._first("party.party", [["code", "=", customer["id"]]], context)
        if party is None:
            new = {"name": customer.get("name") or customer["id"], "code": customer["id"]}
            [party] = await self._tryton.call("model.party.party.create", [new], context)
        people = {"party": party}
        if (owner := task.get("owner")) is not None:
            wanted = [["party.code", "=", owner["id"]]]
            employee = await self._first("company.employee", wanted, context)
            people |= {} if employee is None else {"employee": employee}
        return people

    async def _first(self, model: str, wanted: list[Any], context: Any) -> int | None:
        found = await self._tryton.call(f"model.{model}.search", wanted, 0, 1, None, context)
        return int(found[0]) if found else None


def _values(task: dict[str, Any]) -> dict[str, Any]:
    name = task["customer"].get("name") or task["customer"]["id"]
    lines = [reason["text"] for reason in task["reasons"]]
    lines += [f"- {step}" for step in task.get("steps", ())]
    if task["status"] == "closed":
        lines.append(f"({task['close_reason']})")
    return {
        "description": f"{name}: {task['probability']:.0%}",
        "comment": "\n".join(lines),
        "end_date": _date(task.get("closed_at") or task["due_at"]),
    }


def _date(text: str) -> dict[str, Any]:
    """Converts a UTC day to Tryton's JSON."""
    day: date = datetime.fromisoformat(text).date()
    return {"__class__": "date", "year": day.year, "month": day.month, "day": day.day}


def create_app(secret: SecretStr, tryton: Tryton) -> FastAPI:
    """Creates the receiver: `POST /webhooks`."""
    app = FastAPI(title="Tryton bridge", docs_url=None, redoc_url=None)
    webhook = Webhook(secret.get_secret_value())
    opportunities = Opportunities(tryton)

    @app.post("/webhooks")
    async def receive(request: Request) -> Response:
        body = await request.body()
        if len(body) > BODY_BYTES_MAX:
            raise HTTPException(413, f"a message may have {BODY_BYTES_MAX} bytes at most")
        try:
            message = webhook.verify(body, dict(request.headers))
        except (WebhookVerificationError, ValueError) as error:
            # The package raises a plain ValueError for a signature that it cannot parse.
            raise HTTPException(401, "the signature does not fit this message") from error
        try:
            await opportunities.take(message["data"]["task"])
        except (Refused, httpx.HTTPError) as trouble:
            raise HTTPException(503, f"Tryton: {type(trouble).__name__} {trouble}") from trouble
        return Response(status_code=204)

    return app


if __name__ == "__main__":
    settings = TrytonSettings()
    client = Tryton(
        settings.tryton_url.rstrip("/"),
        settings.user,
        settings.password,
        httpx.AsyncClient(timeout=TIMEOUT_S, trust_env=False),
    )
    uvicorn.run(
        create_app(settings.webhook_secret, client),
        host=settings.host,
        port=settings.port,
        access_log=False,
    )
