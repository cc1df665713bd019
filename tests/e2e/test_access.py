"""Every route of the running services, asked by every kind of principal, shows no foreign row."""

import base64
from pathlib import Path

import httpx
import pytest

from shared.http.holder import Person
from shared.http.on_behalf import HEADER, signed
from shared.http.scopes import ADMIN, SCOPES
from tests.e2e.principals import CHIEF, FOREIGN, MANAGED, NOW, OWN, PERSONS, Asked
from tests.e2e.services_on_history import World
from tests.e2e.walked_audit import changes_have_both_values, every_change_has_an_entry

pytestmark = [pytest.mark.timeout(400), pytest.mark.access, pytest.mark.audit]

SEES_NOTHING = {"foreign, limited token", "nobody's"}


async def _every_route_declares_itself(asked: Asked) -> None:
    """The scopes that open it, and how it is audited."""
    for each in await asked.operations():
        if each.needs_token:
            assert each.scopes is not None, each
        if each.method != "GET":
            assert each.audit is not None, each


async def _no_foreign_row(asked: Asked) -> None:
    """Ask every route for the foreign customer: without a token, and limited to another owner."""
    for each in await asked.operations():
        if not each.needs_token:
            continue
        nobody = await asked.ask(each.service, "nobody", each.method, each.path)
        assert nobody.status_code == 401, (each, nobody.text)
        for kind in ("limited", *PERSONS):
            answer = await asked.ask(each.service, kind, each.method, each.path, json={})
            where = (each, kind, answer.status_code, answer.text[:300])
            # A refusal may repeat the id that was asked for.
            assert answer.status_code in {403, 404} or FOREIGN not in answer.text, where
            if FOREIGN in each.path or asked.tasks[FOREIGN] in each.path:
                assert answer.status_code in {403, 404}, where
            assert kind not in SEES_NOTHING or OWN not in answer.text, where


async def _own_rows(asked: Asked, kind: str) -> None:
    """A limited principal sees its own."""
    task = asked.tasks[OWN]
    for path in ("/v1/tasks", "/v1/queue", f"/v1/tasks/{task}"):
        answer = await asked.ask("alerts", kind, "GET", path)
        assert answer.status_code == 200, answer.text
        assert OWN in answer.text
    for path in ("/v1/customers", f"/v1/customers/{OWN}", f"/v1/customers/{OWN}/history"):
        answer = await asked.ask("scoring", kind, "GET", path)
        assert answer.status_code == 200, answer.text
        assert OWN in answer.text
    listed = await asked.ask("scoring", kind, "GET", "/v1/customers?owner=o-2")
    assert listed.json()["items"] == []


async def _own_changes(asked: Asked) -> None:
    """A limited principal changes its own, in the person's name where there is one."""
    task = asked.tasks[OWN]
    for kind in ("limited", "as owner"):
        done = await asked.ask("alerts", kind, "POST", f"/v1/tasks/{task}/start", json={})
        assert done.status_code == 200, done.text
        text = {"text": f"by {kind}"}
        noted = await asked.ask("alerts", kind, "POST", f"/v1/tasks/{task}/comments", json=text)
        assert noted.status_code == 200, noted.text
        foreign = f"/v1/tasks/{asked.tasks[FOREIGN]}/start"
        refused = await asked.ask("alerts", kind, "POST", foreign, json={})
        unknown = await asked.ask("alerts", kind, "POST", "/v1/tasks/rt_none/start", json={})
        assert refused.status_code == unknown.status_code == 404, "both look the same"
    history = (await asked.ask("alerts", "admin", "GET", f"/v1/tasks/{task}")).json()["history"]
    assert {"limited", "owner-1"} <= {event["actor"] for event in history}


async def _a_manager_sees_the_team(asked: Asked) -> None:
    """Once o-1 manages o-2, as of now; not a moment longer; `me` names the team, too."""
    path = f"/v1/tasks/{asked.tasks[FOREIGN]}"
    for manager, status in ((MANAGED, 200), ("o-9", 404)):
        body = {"manager_id": manager}
        put = await asked.ask("alerts", "policy:write", "PUT", "/v1/owners/o-2", json=body)
        assert put.status_code == 200, put.text
        for kind in ("limited", "as manager", "chief, limited token", "foreign, limited token"):
            seen = (await asked.ask("alerts", kind, "GET", path)).status_code
            assert seen == status, (kind, manager)
            me = (await asked.ask("alerts", kind, "GET", "/v1/me")).json()
            assert ("o-2" in me["owner_ids"]) == (status == 200), (kind, manager)


async def _scopes_are_needed(asked: Asked) -> None:
    """A token opens what its scope names, and nothing else."""
    for each in await asked.operations():
        if not each.needs_token or each.scopes is None:
            continue
        opened = {*each.scopes, ADMIN} if each.scopes else set(SCOPES)
        if each.method == "GET":
            found = await asked.statuses(each, SCOPES)
            admitted = {scope for scope, status in found.items() if status not in {401, 403}}
            assert admitted == opened, each
        else:
            closed = [scope for scope in SCOPES if scope not in opened]
            assert set((await asked.statuses(each, closed)).values()) <= {403}, each


async def _no_header_without_the_scope(asked: Asked) -> None:
    """403 on every route, though the header is signed with a secret of a token that may."""
    _, secret = asked.tokens["alerts", "console"]
    for each in await asked.operations():
        if each.needs_token:
            headers = asked.headers(each.service, ADMIN) | {HEADER: signed(CHIEF, secret, NOW)}
            url = asked.world.services.url(each.service) + each.path
            answer = await asked.client.request(each.method, url, headers=headers)
            assert answer.status_code == 403, (each, answer.text)
            assert "on_behalf" in answer.text


async def _no_secret_of_another_service(asked: Asked) -> None:
    """A header that one service believes is none to the others."""
    _, foreign = asked.tokens["alerts", "console"]
    token, _ = asked.tokens["scoring", "console"]
    asked.tokens["scoring", "thief"] = token, foreign
    person = Person("o-1", ("owner",), frozenset({MANAGED}))
    answer = await asked.ask("scoring", "thief", "GET", "/v1/me", person)
    assert answer.status_code == 401, answer.text


async def test_no_principal_sees_a_foreign_row(
    folder: Path, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every route, every kind of principal, own and foreign rows; and every change is audited."""
    monkeypatch.setenv("EBBWATCH_ALERTS_SECRET_KEYS", base64.b64encode(b"k" * 32).decode())
    async with (
        World.open(folder, environ, clock="live") as world,
        httpx.AsyncClient(timeout=30) as client,
    ):
        asked = Asked(world, client)
        await asked.make_tokens()
        await asked.publish()
        await _every_route_declares_itself(asked)
        await _no_foreign_row(asked)
        for kind in ("limited", "as owner", "as manager", "as operator", "chief, limited token"):
            await _own_rows(asked, kind)
        await _own_changes(asked)
        await _a_manager_sees_the_team(asked)
        await _scopes_are_needed(asked)
        await _no_header_without_the_scope(asked)
        await _no_secret_of_another_service(asked)
        await changes_have_both_values(asked)
        await every_change_has_an_entry(asked)
