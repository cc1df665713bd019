"""Dead letters over HTTP: what is wrong, one in full, replay and discard; the sources' clocks."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from shared.kafka.producer import Producer, Record
from tests.integration.ingest.running import Running, ServiceEnvironment, eventually, ingest
from tests.unit.ingest.events import encoded

pytestmark = pytest.mark.stack

PATH = "/v1/dead-letters"
INDEXED = 'ebbwatch_ingest_dead_letters_indexed_total{stage="ingest"}'


async def _token(place: ServiceEnvironment, *scopes: str) -> dict[str, str]:
    options = [word for scope in scopes for word in ("--scope", scope)]
    name = "ann" if "dead-letters:write" in scopes else scopes[0]
    shown = await place.command("tokens", "create", "--name", name, *options)
    return {"Authorization": f"Bearer {shown.strip()}"}


def _client(service: Running, headers: dict[str, str]) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=service.url, headers=headers, timeout=30)


async def _json(answer: httpx.Response, status: int = 200) -> Any:
    assert answer.status_code == status, answer.text
    return answer.json()


async def test_from_what_is_wrong_to_replayed(
    place: ServiceEnvironment, upstream: Producer
) -> None:
    """A fault is found by group, read, replayed after it was mended, and is replayed once.

    One that is still wrong comes back as a new dead letter that names the first. Two requests at
    once send each record once.
    """
    euros = [encoded(id=f"e{n}", data={"amount": "10.00", "currency": "EUR"}) for n in range(3)]
    bad = encoded(id="bad", subject=None)
    await upstream.send([Record(place.raw, b"k", value, (), 0) for value in (*euros, bad)])
    async with ingest(place) as service:
        await service.reaches(INDEXED, 4)
        reader = await _token(place, "dead-letters:read")
        writer = await _token(place, "dead-letters:read", "dead-letters:write")
        async with _client(service, reader) as client:
            found = (await _json(await client.get(f"{PATH}/summary")))["items"]
            assert [(x["field"], x["count"]) for x in found] == [
                ("data.currency", 3),
                ("subject", 1),
            ]
            page = await _json(await client.get(PATH, params={"limit": 3}))
            assert [x["source"] for x in page["items"]] == ["shop/till"] * 3
            last = await _json(await client.get(PATH, params={"cursor": page["next"], "limit": 3}))
            assert ([x["field"] for x in last["items"]], last["next"]) == (["subject"], None)
            missing = last["items"][0]["id"]
            whole = await _json(await client.get(f"{PATH}/{missing}"))
            assert (whole["value"]["text"], whole["value"]["bytes"]) == (bad.decode(), len(bad))
            assert whole["arrived_at_ms"] > 0
            for path in ("/replay", "/discard"):
                refused = await client.post(PATH + path, json={"filter": {}})
                assert (refused.status_code, "dead-letters:write" in refused.text) == (403, True)
        async with _client(service, writer) as client:
            body = {"filter": {"source": "shop/till", "field": "subject"}, "wait_s": 10}
            done = await _json(await client.post(f"{PATH}/replay", json=body))
            assert (done["ids"], done["topics"]) == ([missing], {place.raw: 1})
            assert list(done["refused_again"]) == [str(missing)]
            new = done["refused_again"][str(missing)]
            linked = await _json(await client.get(f"{PATH}/{new}"))
            assert (linked["replay_of"], linked["headers"]) == (missing, [])
            first = await _json(await client.get(f"{PATH}/{missing}"))
            assert (first["refused_again_as"], first["settled_by"]) == (new, "ann")
            gone = {"ids": [new, 999], "why": "a test order"}
            done = await _json(await client.post(f"{PATH}/discard", json=gone))
            assert (done["ids"], [x["id"] for x in done["untouched"]]) == ([new], [999])
            bodies: tuple[Any, ...] = ({"filter": {}, "wait_s": 0}, {"filter": {}, "wait_s": 0})
            answers = await asyncio.gather(*(client.post(f"{PATH}/replay", json=b) for b in bodies))
            assert {a.status_code for a in answers} <= {200, 503}
            sent = [i for a in answers if a.status_code == 200 for i in a.json()["ids"]]
            assert len(sent) == 3
        assert await service.stop() == 0
    again = await place.read(place.raw, 8)
    assert [r.value for r in again] == [*euros, bad, bad, *euros]


async def test_a_command_and_a_request_at_once(
    place: ServiceEnvironment, upstream: Producer
) -> None:
    """The command and a request at the same time send each record once between them."""
    values = [encoded(id=f"n{n}", subject=None) for n in range(60)]
    await upstream.send([Record(place.raw, b"k", value, (), 0) for value in values])
    async with ingest(place) as service:
        await service.reaches(INDEXED, 60)
        writer = await _token(place, "dead-letters:write")
        command = ("dead-letters", "replay", "--all", "--until", f"{datetime.now(UTC):%FT%TZ}")
        async with _client(service, writer) as client:
            by_hand = asyncio.create_task(place.command(*command, "--wait", "0", status=0))
            limit = {"filter": {"until": datetime.now(UTC).isoformat()}, "limit": 60, "wait_s": 0}
            await _json(await client.post(f"{PATH}/replay", json=limit))
            await by_hand
        await service.reaches(INDEXED, 120)
        assert await service.stop() == 0
    assert len(await place.read(place.raw, 120)) == 120


async def test_hostile_requests(place: ServiceEnvironment) -> None:
    """Numbers, cursors, filters and bodies that are made up are refused with the field's name."""
    async with ingest(place) as service:
        admin = await _token(place, "admin")
        async with _client(service, admin) as client:
            for path, status in (
                ("/7", 404),
                ("/-1", 404),
                ("/9999999999999999999999", 404),
                ("/1e3", 404),
                ("/replay", 405),
                ("/%00", 422),
                ("?cursor=0", 422),
                ("?cursor=LTE=", 422),
                ("?cursor=JyBPUiAxPTE=", 422),
                ("?limit=0", 422),
                ("?limit=201", 422),
                ("?state=all", 422),
                ("?since=yesterday", 422),
                ("?since=2026-03-01T00:00:00", 422),
                ("?reason=", 422),
                ("?reason=%25_%27%22;--", 200),
                ("?source=%F0%9F%9B%92", 200),
                ("/summary?reason=%5C", 200),
            ):
                answer = await client.get(PATH + path)
                assert answer.status_code == status, (path, answer.text)
            bodies: tuple[tuple[dict[str, Any], str], ...] = (
                ({}, "ids"),
                ({"ids": [1], "filter": {}}, "ids"),
                ({"ids": []}, "ids"),
                ({"ids": list(range(1_001))}, "ids"),
                ({"ids": [-1]}, "ids"),
                ({"ids": [True]}, "ids"),
                ({"ids": ["1; DROP TABLE"]}, "ids"),
                ({"filter": {"state": "replayed"}}, "state"),
                ({"filter": {}, "limit": 1_001}, "limit"),
                ({"filter": {}, "again": True}, "again"),
                ({"ids": [1], "again": 0}, "again"),
                ({"filter": {}, "wait_s": 11}, "wait_s"),
                ({"filter": {"since": 0}}, "since"),
                ({"ids": [1], "why": "x" * 1_001}, "why"),
            )
            for body, field in bodies:
                answer = await client.post(f"{PATH}/replay", json=body)
                assert (answer.status_code, field in answer.text) == (422, True), answer.text
        assert await service.stop() == 0


async def test_a_source_with_a_wrong_clock_is_named(
    place: ServiceEnvironment, upstream: Producer
) -> None:
    """By `sources`, by the metrics, by a note of `/readyz`, and by no other source's events."""
    now = datetime.now(UTC)
    local, right = now - timedelta(hours=8), now - timedelta(seconds=1)
    values = [
        encoded(id=f"{source}-{n}", source=source, time=time.isoformat())
        for source, time in (("shop/local", local), ("shop/right", right))
        for n in range(50)
    ]
    ahead = encoded(id="x", source="shop/right", time=(now + timedelta(hours=8)).isoformat())
    await upstream.send([Record(place.raw, b"k", value, (), 0) for value in (*values, ahead)])
    wrong = 'ebbwatch_ingest_source_clock_wrong{source="shop/local"}'
    async with ingest(place) as service:
        await service.reaches(wrong, 1)
        note = (await service.until("/readyz", 200)).json()["notes"]["clocks"]
        assert "'shop/local': its times are steadily 8:00:0" in note
        skew = await service.metric('ebbwatch_ingest_source_skew_seconds{source="shop/local"}')
        assert -8 * 3600 - 60 < skew <= -8 * 3600
        refused = 'ebbwatch_ingest_source_events_total{outcome="future",source="shop/right"}'
        assert await service.metric(refused) == 1

        async def stored() -> bool:
            return "shop/local" in await place.command("sources")

        await eventually(stored)
        shown = {
            line.split("  ")[-1]: line for line in (await place.command("sources")).split("\n")
        }
        assert any("a local time sent as UTC" in key for key in shown)
        assert any("shop/local  !" in line for line in shown.values())
        assert await service.stop() == 0
