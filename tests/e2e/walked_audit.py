"""The audit of the running services: an entry for every change, with what was there before."""

import asyncio
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from tests.e2e.principals import CHIEF, OWN, Asked

SECRET: Final = "planted-secret-of-an-endpoint"
WORDS: Final = "planted words about a person"
LATER: Final = (datetime.now(UTC) + timedelta(days=9)).isoformat()
POLICY: Final = {"margin": 0.2}
SEGMENT: Final = {"name": "s", "expression": "tier == 'high'"}
ENDPOINT: Final = {"id": "e-1", "url": f"http://127.0.0.1:9/hook?key={SECRET}"}

CHANGES: Final[tuple[tuple[str, str, str, Mapping[str, Any], str], ...]] = (
    ("alerts", "PUT", "/v1/owners/o-7", {"name": WORDS, "manager_id": "o-8"}, "manager_id"),
    ("alerts", "PUT", "/v1/owners/o-7", {"manager_id": "o-9"}, "manager_id"),
    ("alerts", "POST", "/v1/endpoints", ENDPOINT, "url"),
    ("alerts", "POST", "/v1/endpoints/e-1/rotate", {}, "sealed"),
    ("alerts", "POST", "/v1/endpoints/e-1/pause", {}, "paused_at"),
    ("alerts", "DELETE", "/v1/endpoints/e-1", {}, "deleted_at"),
    ("alerts", "POST", "/v1/tokens", {"name": "new", "scopes": ["audit:read"]}, "scopes"),
    ("scoring", "PUT", "/v1/segments/s-1", SEGMENT, "expression"),
    ("scoring", "DELETE", "/v1/segments/s-1", {}, "retired"),
    ("scoring", "PUT", "/v1/value/policy", {"policy": POLICY, "reason": "plan"}, "version"),
    ("scoring", "PUT", f"/v1/grades/{OWN}",
     {"grade": "vip", "reason": WORDS, "expires_at": LATER}, "grade"),
    ("scoring", "DELETE", f"/v1/grades/{OWN}", {}, "grade"),
    ("scoring", "PUT", f"/v1/absences/{OWN}",
     {"begins_at": datetime.now(UTC).isoformat(), "ends_at": LATER, "reason": WORDS}, "ends_at"),
)  # fmt: skip
"""Changes by route and content, and a field that differs before and after."""


async def changes_have_both_values(asked: Asked) -> None:
    """On behalf of a person: what was there before and is there afterwards, and no secret."""
    policy = (await asked.ask("alerts", "admin", "GET", "/v1/policy")).json()["document"]
    changed = {**policy, "cooldown_days": 29}
    for service, method, path, body, field in (
        *CHANGES,
        ("alerts", "PUT", "/v1/policy", changed, "version"),
    ):
        given = {"json": body} if body or method != "DELETE" else {}
        answer = await asked.ask(service, "console", method, path, CHIEF, **given)
        assert answer.status_code < 300, (path, answer.text)
        entry = await _newest(asked, service)
        assert (entry["actor"], entry["on_behalf_of"]) == ("console", "chief"), entry
        before, after = (_field(entry[when], field) for when in ("before", "after"))
        assert before != after, (path, entry)
    for service in ("alerts", "scoring"):
        text = (await asked.ask(service, "admin", "GET", "/v1/audit?limit=500")).text
        assert not any(word in text for word in (SECRET, WORDS, OWN, "ebw_", "whsec_", "ebs_"))


async def _newest(asked: Asked, service: str) -> dict[str, Any]:
    """Return the newest entry once it is complete, which it is just after the answer."""
    for _ in range(100):
        answer = await asked.ask(service, "admin", "GET", "/v1/audit?limit=1")
        (entry,) = answer.json()["items"]
        if entry["outcome"] is not None:
            return dict(entry)
        await asyncio.sleep(0.05)
    raise AssertionError(entry)


def _field(state: Any, name: str) -> Any:
    return state if not isinstance(state, dict) else state.get(name)


async def every_change_has_an_entry(asked: Asked) -> None:
    """Ask every route that may change something; what declares an entry has one, with a person."""
    for each in await asked.operations():
        if each.method == "GET" or not each.needs_token:
            continue
        answer = await asked.ask(each.service, "console", each.method, each.path, CHIEF, json={})
        assert answer.status_code not in {401, 500, 503}, (each, answer.text)
        newest = await _newest(asked, each.service)
        action = re.sub(r":[a-z_]+}", "}", newest["action"])
        mine = (action, newest["on_behalf_of"]) == (f"{each.method} {each.template}", "chief")
        assert mine == (each.audit in {"kept", "personal"}), (each, newest)
        if mine:
            assert newest["outcome"] == str(answer.status_code)
