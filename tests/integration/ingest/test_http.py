"""Events over HTTP: access, answers, and the arrival of everything acknowledged."""

import json

import httpx
import pytest

from services.ingest.inbound.http import BODIES, EVENTS
from shared.contracts.activity import DECODER
from shared.contracts.headers import TRACEPARENT
from tests.integration.ingest.running import Running, ServiceEnvironment, ingest
from tests.unit.ingest.events import event

pytestmark = pytest.mark.stack

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


async def _post(service: Running, body: bytes, token: str | None) -> httpx.Response:
    headers = {TRACEPARENT: TRACE}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    async with httpx.AsyncClient() as client:
        return await client.post(f"{service.url}/v1/events", content=body, headers=headers)


async def _token(place: ServiceEnvironment, scope: str) -> str:
    shown = await place.command("tokens", "create", "--name", "test", "--scope", scope)
    return shown.strip()


async def test_access(place: ServiceEnvironment) -> None:
    """Requests without a token, with an unknown token, without the scope, and with it."""
    body = json.dumps(event()).encode()
    async with ingest(place) as service:
        assert (await _post(service, body, None)).status_code == 401
        assert (await _post(service, body, "ebw_made-up")).status_code == 401
        reader = await _token(place, "customers:read")
        refused = await _post(service, body, reader)
        assert (refused.status_code, "events:write" in refused.text) == (403, True)
        writer = await _token(place, "events:write")
        assert (await _post(service, body, writer)).status_code == 202
        await place.command("tokens", "revoke", "2")
        assert (await _post(service, body, writer)).status_code == 401


async def test_events_arrive_and_faults_are_told(place: ServiceEnvironment) -> None:
    """Acceptable events of a request reach the activity topic with its trace context.

    The others are named by index, field and reason.
    """
    body = [event(id="1"), event(id="2", subject=None), "what?", event(id="4")]
    async with ingest(place) as service:
        token = await _token(place, "events:write")
        answer = await _post(service, json.dumps(body).encode(), token)
        assert answer.status_code == 202
        told = answer.json()
        assert told["accepted"] == 2
        assert [(r["index"], r["field"]) for r in told["refused"]] == [(1, "subject"), (2, "value")]
        raw = await place.read(place.raw, 2)
        activity = await place.read(place.activity, 2)
        none = await _post(service, json.dumps([event(time="yesterday")]).encode(), token)
        assert (none.status_code, none.json()["refused"][0]["field"]) == (422, "time")
    assert {r.key for r in raw} == {b"household-7"}
    assert [DECODER.decode(r.value or b"").id for r in activity] == ["1", "4"]
    assert {r.headers for r in activity} == {((TRACEPARENT, TRACE.encode()),)}


async def test_bounds(place: ServiceEnvironment) -> None:
    """Bodies and arrays have a maximum size; control events are not accepted over HTTP."""
    async with ingest(place) as service:
        token = await _token(place, "events:write")
        large = await _post(service, b" " * (BODIES[EVENTS].bytes_max + 1), token)
        assert large.status_code == 413
        many = await _post(service, json.dumps([event()] * 1001).encode(), token)
        assert (many.status_code, "1,000" in many.text) == (422, True)
        broken = await _post(service, b'[{"id": 1}', token)
        assert (broken.status_code, "body" in broken.text) == (422, True)
        tick = json.dumps(event(type="io.ebbwatch.clock.tick")).encode()
        refused = await _post(service, tick, token)
        assert (refused.status_code, refused.json()["refused"][0]["field"]) == (422, "type")
