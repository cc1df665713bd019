"""What ingest refuses over HTTP becomes a dead letter, if the caller has the right to write."""

import gzip
import json

import httpx
import pytest

from shared.contracts.dead_letter import DeadLetter
from shared.contracts.headers import TRACEPARENT
from tests.integration.ingest.running import Running, ServiceEnvironment, ingest
from tests.unit.ingest.events import encoded, event

pytestmark = pytest.mark.stack

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
SHOPIFY = json.dumps({"id": 820982911946154508, "email": "a@b.example"}).encode()
KEPT = 'ebbwatch_ingest_http_refused_total{outcome="kept"}'


async def post(
    service: Running, body: bytes, token: str | None = None, **headers: str
) -> httpx.Response:
    """Post a body; `_` in header names stands for `-`."""
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    if token is not None:
        given["Authorization"] = f"Bearer {token}"
    async with httpx.AsyncClient() as client:
        return await client.post(f"{service.url}/v1/events", content=body, headers=given)


async def token_of(place: ServiceEnvironment, scope: str) -> str:
    """Return a token that is made as an operator makes one."""
    shown = await place.command("tokens", "create", "--name", scope, "--scope", scope)
    return shown.strip()


async def test_refused_events_are_kept_and_replayed(place: ServiceEnvironment) -> None:
    """Refused events are dead letters with bytes, field, reason and trace; the answer is unchanged.

    A caller without the right to write stores nothing. A replayed event is handled as any raw
    record.
    """
    euros = encoded(id="2", data={"amount": "10.00", "currency": "EUR"})
    body = b"[%b,%b,%b]" % (encoded(id="1"), euros, SHOPIFY)
    async with ingest(place) as service:
        writer, reader = (
            await token_of(place, "events:write"),
            await token_of(place, "customers:read"),
        )
        for stranger in (None, "ebw_made-up", reader):
            assert (await post(service, SHOPIFY, stranger)).status_code in {401, 403}
        answer = await post(service, body, writer, traceparent=TRACE)
        assert (answer.status_code, answer.json()["accepted"]) == (202, 1)
        said = {r["index"]: (r["field"], r["reason"]) for r in answer.json()["refused"]}
        assert (await post(service, body, writer)).status_code == 202
        broken = await post(service, b'[{"id": 1}', writer)
        assert broken.status_code == 422
        await service.reaches(KEPT, 3)
        found = await place.read(place.dead_letter, 3)
        assert len(found) == 3, "the same again is no second letter"
        letters = {r.value: DeadLetter.from_record(r.key, r.value, r.headers) for r in found}
        for index, value in ((1, euros), (2, SHOPIFY)):
            assert (letters[value].field, letters[value].reason) == said[index]
            assert (TRACEPARENT, TRACE.encode()) in letters[value].original_headers
        assert "into `data`" in said[2][1]
        await service.reaches('ebbwatch_ingest_dead_letters_indexed_total{stage="ingest"}', 3)
        listed = await place.command("dead-letters", "list", "--each")
        assert listed.count("POST /v1/events") == 3
        currency = ("--all", "--field", "data.currency")
        shown = await place.command("dead-letters", "replay", *currency, "--wait", "60", status=3)
        assert "refused again 1: " in shown
        again = await place.read(place.raw, 3)
        assert {r.value for r in again if r.key is None} == {euros}
        assert await service.stop() == 0


async def test_kept_nowhere_by_the_setting(place: ServiceEnvironment) -> None:
    """With 0 bytes a minute only the answer reports the refusal."""
    nothing = {"EBBWATCH_INGEST_HTTP_REFUSED_BYTES_PER_MINUTE": "0"}
    async with ingest(place, nothing) as service:
        writer = await token_of(place, "events:write")
        assert (await post(service, SHOPIFY, writer)).status_code == 422
        await service.reaches('ebbwatch_ingest_http_refused_total{outcome="dropped"}', 1)
        assert await service.stop() == 0
    assert await place.read(place.dead_letter, 0) == []


async def test_each_refusal_names_its_cause(place: ServiceEnvironment) -> None:
    """Mistakes that senders make: each answer names the problem and the remedy."""
    line = encoded()
    rows: list[tuple[bytes, dict[str, str], int, str]] = [
        (SHOPIFY, {}, 422, "not a CloudEvent"),
        (b"[%b]" % SHOPIFY, {}, 422, "not a CloudEvent"),
        (b"{}", {"ce_id": "1", "ce_specversion": "1.0"}, 422, "source"),
        (line, {"content_encoding": "br"}, 415, "gzip, or uncompressed"),
        (line, {"content_encoding": "gzip"}, 422, "not gzip"),
        (gzip.compress(line, mtime=0), {}, 422, "compressed with gzip"),
        (gzip.compress(b" " * 4 * 2**20, mtime=0), {"content_encoding": "gzip"}, 413, "100 times"),
        (line + b"\n" + line, {}, 422, "application/x-ndjson"),
        (line, {"content_type": "text/csv"}, 415, "application/json"),
        (line, {"content_type": "application/cloudevents+avro"}, 415, "cloudevents+json"),
        (encoded(time="2016-12-31T23:59:60Z"), {}, 422, "leap seconds"),
        (json.dumps(event(data={"amount": "59.900000000000006", "currency": "USD"})).encode(),
         {}, 422, "9 after it"),
    ]  # fmt: skip
    async with ingest(place) as service:
        writer = await token_of(place, "events:write")
        for body, headers, status, cause in rows:
            answer = await post(service, body, writer, **headers)
            assert (answer.status_code, cause in answer.text) == (status, True), answer.text
        assert await service.stop() == 0
