"""Events over HTTP: access, answers, and the arrival of everything acknowledged."""

import gzip
import itertools
import json

import httpx
import pytest

from services.ingest.inbound.http import BODIES, EVENTS
from shared.contracts.activity import DECODER
from shared.contracts.headers import TRACEPARENT
from tests.integration.ingest.running import Running, ServiceEnvironment, ingest
from tests.unit.ingest.events import encoded, event

pytestmark = pytest.mark.stack

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


async def _post(service: Running, body: bytes, token: str | None) -> httpx.Response:
    headers = {TRACEPARENT: TRACE}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    async with httpx.AsyncClient() as client:
        return await client.post(f"{service.url}/v1/events", content=body, headers=headers)


NUMBERS = itertools.count()
"""Numbers the tokens: a name belongs to one valid token."""


async def _token(place: ServiceEnvironment, scope: str) -> str:
    shown = await place.command("tokens", "create", "--name", f"t{next(NUMBERS)}", "--scope", scope)
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
        reported = answer.json()
        assert reported["accepted"] == 2
        assert [(r["index"], r["field"]) for r in reported["refused"]] == [
            (1, "subject"),
            (2, "value"),
        ]
        raw = await place.read(place.raw, 2)
        activity = await place.read(place.activity, 2)
        none = await _post(service, json.dumps([event(time="yesterday")]).encode(), token)
        assert (none.status_code, none.json()["refused"][0]["field"]) == (422, "time")
    assert {r.key for r in raw} == {b"household-7"}
    assert [DECODER.decode(r.value or b"").id for r in activity] == ["1", "4"]
    assert {r.headers for r in activity} == {((TRACEPARENT, TRACE.encode()),)}


async def test_every_form(place: ServiceEnvironment) -> None:
    """One, an array, lines, binary mode, compressed: the same events arrive."""
    data = {"amount": "1.00", "currency": "USD"}
    binary = {f"ce-{name}": value for name, value in event(id="binary").items() if name != "data"}
    forms: list[tuple[bytes, dict[str, str]]] = [
        (encoded(id="one"), {}),
        (b"[%b]" % encoded(id="batch"), {"Content-Type": "application/cloudevents-batch+json"}),
        (encoded(id="a") + b"\n\n" + encoded(id="b"), {"Content-Type": "application/x-ndjson"}),
        (json.dumps(data).encode(), binary | {"Content-Type": "application/json"}),
        (gzip.compress(encoded(id="zipped"), mtime=0), {"Content-Encoding": "gzip"}),
    ]
    async with ingest(place) as service, httpx.AsyncClient() as client:
        client.headers["Authorization"] = f"Bearer {await _token(place, 'events:write')}"
        for body, headers in forms:
            answer = await client.post(f"{service.url}/v1/events", content=body, headers=headers)
            assert answer.status_code == 202, (headers, answer.text)
        activity = await place.read(place.activity, 6)
    ids = {DECODER.decode(r.value or b"").id for r in activity}
    assert ids == {"one", "batch", "a", "b", "binary", "zipped"}


async def test_a_repeated_request_is_answered_alike(place: ServiceEnvironment) -> None:
    """It is not sent again, also by another process; another body with its key is refused."""
    body = json.dumps([event(id="1"), event(id="2", subject=None)]).encode()
    async with ingest(place) as service, httpx.AsyncClient() as client:
        client.headers["Authorization"] = f"Bearer {await _token(place, 'events:write')}"
        client.headers["Idempotency-Key"] = "nightly-7"
        first = await client.post(f"{service.url}/v1/events", content=body)
        async with ingest(place) as replica:
            again = await client.post(f"{replica.url}/v1/events", content=body)
        other = await client.post(f"{service.url}/v1/events", content=encoded())
    assert (first.status_code, first.json()["accepted"]) == (202, 1)
    assert (again.status_code, again.content) == (202, first.content)
    assert (other.status_code, "Idempotency-Key" in other.text) == (422, True)
    assert len(await place.read(place.raw, 1)) == 1


async def test_a_sender_has_a_bound_of_its_own(place: ServiceEnvironment) -> None:
    """429 says when to come again; another token is not concerned."""
    body = b"[%b]" % b",".join([b"1"] * 600)
    async with ingest(place, {"EBBWATCH_INGEST_HTTP_EVENTS_PER_MINUTE": "1000"}) as service:
        greedy, other = [await _token(place, "events:write") for _ in range(2)]
        assert (await _post(service, body, greedy)).status_code == 422
        full = await _post(service, body, greedy)
        assert (full.status_code, 1 <= int(full.headers["Retry-After"]) <= 12) == (429, True)
        assert (await _post(service, body, other)).status_code == 422


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
