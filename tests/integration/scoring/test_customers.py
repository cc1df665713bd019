"""Customers over HTTP: one customer, lists, history, and recomputed assessments."""

import json
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from deploy.local.stack import LocalStack
from services.scoring.model.churn_model import dumps
from services.scoring.model.store import ArtefactStore
from services.scoring.store.models import Models
from shared.contracts.activity import ActivityData
from shared.contracts.events import Owner, Profile
from shared.contracts.risk import BANDS
from shared.postgres.engine import unit_of_work
from tests.fakes import activity
from tests.fakes.log import MemoryLog
from tests.fakes.model import tiny_model
from tests.integration.scoring.postgres import promoted, table
from tests.integration.scoring.running import Running, ServiceEnvironment, place, scoring
from tests.integration.scoring.test_service import NOW, get, purchase, send, token

pytestmark = pytest.mark.stack

OWNED = {"ann": "o1", "bob": "o2", "cid": "o1"}


@pytest.fixture
async def made(stack: LocalStack, database_url: str) -> AsyncIterator[ServiceEnvironment]:
    """Provide topics and tables with two partitions."""
    async with place(stack, database_url, 2) as found:
        yield found


def some_customers() -> MemoryLog:
    """Provide eleven customers who bought, with different silences and amounts.

    Three of them have an owner.
    """
    log = MemoryLog("activity")
    for n, name in enumerate((*OWNED, *(f"c{n}" for n in range(8)))):
        for back in range(12):
            at = NOW - timedelta(days=3 * back + 4 * n)
            data = ActivityData(amount=5.0 + n)
            log.append(0, activity.event(f"{name}-{back}", name, at, data=data), key=name.encode())
    for name, owner in OWNED.items():
        data = ActivityData(profile=Profile(name=name, owner=Owner(id=owner)))
        kind = "io.ebbwatch.profile"
        log.append(0, activity.event(f"p-{name}", name, NOW, kind=kind, data=data))
    return log


async def pages(service: Running, key: str, query: str, limit: int) -> list[dict[str, object]]:
    """Return every row of a list, page by page."""
    found: list[dict[str, object]] = []
    cursor = ""
    while True:
        answer = await get(service, f"/v1/customers?limit={limit}{query}{cursor}", key)
        assert answer.status_code == 200, answer.text
        found += answer.json()["items"]
        if answer.json()["next"] is None:
            return found
        assert len(answer.json()["items"]) == limit
        cursor = f"&cursor={answer.json()['next']}"


async def test_lists_are_the_same_page_by_page(made: ServiceEnvironment) -> None:
    """Lists by value at risk or id, of one band or owner, are the same page by page."""
    async with scoring(made) as service:
        await service.until("/readyz", 200)
        await send(made, service, some_customers())
        key = await token(made, "customers:read")
        everybody = await pages(service, key, "", 200)
        assert len(everybody) == 11
        values = [float(str(row["value_at_risk"])) for row in everybody]
        assert values == sorted(values, reverse=True)
        assert len(set(values)) > 5
        for limit in (1, 3, 11):
            assert await pages(service, key, "", limit) == everybody
            by_id = await pages(service, key, "&order_by=customer_id", limit)
            assert by_id == sorted(everybody, key=lambda row: str(row["customer_id"]))
        seen = 0
        for band in BANDS:
            rows = await pages(service, key, f"&band={band}", 2)
            assert rows == [row for row in everybody if row["band"] == band]
            seen += bool(rows)
        assert seen > 1
        for order in ("value_at_risk", "customer_id"):
            rows = await pages(service, key, f"&owner=o1&order_by={order}", 1)
            assert {row["customer_id"] for row in rows} == {"ann", "cid"}
        assert await pages(service, key, "&owner=nobody", 5) == []
        for wrong in ("band=red", "order_by=name", "limit=0", "limit=201", "cursor=%21", "owner="):
            answer = await get(service, f"/v1/customers?{wrong}", key)
            assert answer.status_code == 422, wrong


async def test_the_picture_of_one(made: ServiceEnvironment) -> None:
    """The answer has the state in words, and the assessment with its inputs.

    It shows what was published and why, and the history page by page; a state of another feature
    set is not misread.
    """
    async with scoring(made) as service:
        await service.until("/readyz", 200)
        await send(made, service, some_customers())
        log = MemoryLog("activity")
        log.append(0, activity.feedback("f1", "c7", NOW, "complaint_opened"))
        await send(made, service, log)
        key = await token(made, "customers:read")
        body = (await get(service, "/v1/customers/c7", key)).json()
        assert body["state"]["purchases"] == body["state"]["purchase_days"] == 12
        assert body["state"]["spent"] == pytest.approx(12 * 15.0)
        assert body["state"]["complaints_opened"] == 1
        assert body["state"]["last_refund_at"] is None
        assert body["assessment"]["horizon_days"] == 28
        over = {one["days"]: one["probability"] for one in body["assessment"]["horizons"]}
        assert list(over) == [14, 28, 30, 60, 90]
        assert over[28] == body["assessment"]["probability"]
        assert list(over.values()) == sorted(over.values(), reverse=True)
        assert body["told"]["currency"] == "USD"
        assert body["told"]["revision"] <= body["assessment"]["revision"]
        if body["assessment"]["band"] in {"high", "critical"}:
            assert body["told"]["reasons"][0]["code"] == body["assessment"]["leading_reason"]

        stored = await table(made.engine, "assessment_history")
        whole = [json.loads(r["message"]) for r in stored if r["customer_id"] == "c7"]
        whole.sort(key=lambda message: -message["revision"])
        answer = (await get(service, "/v1/customers/c7/history", key)).json()
        assert answer == {"items": whole, "next": None}
        first = (await get(service, "/v1/customers/c7/history?limit=1", key)).json()
        assert first["items"] == whole[:1]
        assert (first["next"] is None) == (len(whole) == 1)
        answer = await get(service, "/v1/customers/c7/history?cursor=eA==", key)
        assert answer.status_code == 422

        await _execute(made.engine, "UPDATE scoring.customer_state SET feature_set = 30000")
        body = (await get(service, "/v1/customers/c7", key)).json()
        assert (body["state"], body["features"]) == (None, None)


async def test_assessments_are_made_again(
    made: ServiceEnvironment,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Invariant 6: stored features and model version give the same number.

    This holds for the rule and for a model; a changed number is found, a missing model is named.
    """
    folder = tmp_path_factory.mktemp("models")
    monkeypatch.setenv("EBBWATCH_SCORING_MODEL_STORE", str(folder))
    model = tiny_model()
    async with scoring(made) as service:
        await service.until("/readyz", 200)
        await send(made, service, some_customers())
        assert await service.stop() == 0
    # One of its consumers may have asked to join again while the other was leaving.
    made.stack.forget_dead_members()
    digest = ArtefactStore(folder).put(dumps(model))
    await promoted(Models(made.engine), model.version, digest, NOW)
    async with scoring(made) as service:
        await service.until("/readyz", 200)
        log = MemoryLog("activity")
        purchase(log, "late", "new", 1)
        await send(made, service, log)
        rows = await table(made.engine, "assessment_history")
        assert {r["model_version"] for r in rows} == {"rule-2", model.version}

        said = await made.command("assessments", "replay")
        assert f"{len(rows)} assessments give the same number again, 0 do not" in said
        assert "1 assessments" in await made.command("assessments", "replay", "new")
        wrong = "UPDATE scoring.assessment_history SET probability = probability + 1e-9"
        await _execute(made.engine, f"{wrong} WHERE customer_id = 'ann' AND revision = 1")
        with pytest.raises(AssertionError):
            await made.command("assessments", "replay")
        other = "SET horizons = overlay(horizons PLACING '\\x00' FROM 16 FOR 1)"  # nearly 0
        which = "WHERE customer_id = 'c1' AND revision = 1"
        await _execute(made.engine, f"UPDATE scoring.assessment_history {other} {which}")
        with pytest.raises(AssertionError):
            await made.command("assessments", "replay", "c1")
        for artefact in folder.glob("*.json"):
            artefact.unlink()
        with pytest.raises(AssertionError):
            await made.command("assessments", "replay", "new")


async def test_history_has_its_partitions(made: ServiceEnvironment) -> None:
    """The service creates them itself and reports how far ahead; vacuum runs eagerly."""
    async with scoring(made) as service:
        await service.until("/readyz", 200)
        await send(made, service, some_customers())
        text = (await get(service, "/metrics")).text
    for name in ("scoring.event", "scoring.assessment_history"):
        assert f'ebbwatch_scoring_history_partitions{{table="{name}"}} 4.0' in text
        assert f'ebbwatch_scoring_history_rest{{table="{name}"}} 0.0' in text
        async with unit_of_work(made.engine) as work:
            rest = await work.driver.fetchval(f"SELECT count(*) FROM {name}_rest")  # noqa: S608
            kept = await work.driver.fetchval(f"SELECT count(*) FROM {name}")  # noqa: S608
        assert (rest, kept > 0) == (0, True)


async def _execute(engine: AsyncEngine, statement: str) -> None:
    async with unit_of_work(engine) as work:
        await work.driver.execute(statement)
