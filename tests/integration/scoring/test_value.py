"""Classifications on the real database: batches, jobs in bounded steps, and the API over them."""

import argparse
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy.ext.asyncio import AsyncEngine

from services.scoring.commands import value
from services.scoring.core.risk.lapse import LapseClock
from services.scoring.core.value import policy as policies
from services.scoring.handlers.refresh_value_base import RefreshValueBase
from services.scoring.handlers.value_policy_cache import ValuePolicyCache
from services.scoring.inbound.http.segments import SegmentIn, SegmentView, add_segment_routes
from services.scoring.inbound.http.value import (
    ClassificationDetail,
    ClassificationPage,
    PolicyIn,
    SetGrade,
    add_value_routes,
)
from services.scoring.store.classification_queries import ClassificationQueries
from services.scoring.store.definitions import Decisions
from services.scoring.store.identity_queries import IdentityQueries
from services.scoring.store.tables import api_token
from services.scoring.store.treatments import Treatments
from services.scoring.store.value_jobs import REASSESS_DELAY, ValueJobs
from services.scoring.store.value_settings import ValueSettings
from shared.contracts import events as types
from shared.contracts.activity import ActivityData
from shared.contracts.treatment import LeavingCause, TreatmentRecorded
from shared.http.access import Tokens
from shared.http.app import create_app
from shared.kernel.errors import Invalid
from shared.postgres.engine import unit_of_work
from shared.runtime.health import Health
from shared.runtime.service import Stop
from tests.fakes import activity
from tests.fakes.activity import day
from tests.fakes.clock import SetClock
from tests.fakes.item_failures import no_failures
from tests.fakes.scoring_worker import ScoringWorker
from tests.integration.scoring.postgres import PostgresStore, Relayed, table

pytestmark = pytest.mark.stack

CUSTOMERS = 60


class World:
    """Scoring with its value parts on one database, and a client of its API."""

    def __init__(self, engine: AsyncEngine, store: PostgresStore) -> None:
        self.engine = engine
        self.clock = SetClock(at=day(200))
        self.scoring = ScoringWorker(store, Relayed(engine), clock=self.clock)
        self.valuing = ValuePolicyCache(ValueSettings(engine), 1.0, LapseClock(), no_failures())
        self.refresh = RefreshValueBase(
            ValueJobs(engine), self.valuing.current, self.clock, refresh_s=3_600.0, first_s=10.0
        )
        self.app: FastAPI = create_app("test", Health(self.clock))
        lists, decisions = ClassificationQueries(engine), Decisions(engine)
        self.tokens = Tokens(engine, api_token, self.clock)
        add_segment_routes(self.app, lists, decisions, self.tokens, self.clock)
        add_value_routes(
            self.app, lists, decisions, IdentityQueries(self.engine), self.tokens, self.clock
        )

    async def history(self) -> None:
        """Customer n buys every 5 + n days, for 10 + n each time, up to day 199."""
        for n in range(CUSTOMERS):
            at = 199.0 - (n % 5)
            while at > 0:
                # Half of the customers buy office goods at every second purchase.
                often = n % 2 == 0 and int(at) % 2 == 0
                data = ActivityData(amount=10.0 + n, category="office" if often else "toys")
                value = activity.event(f"{n}-{at}", f"c{n:02}", day(at), data=data)
                self.scoring.log.append(0, value)
                at -= 5 + n
        await self.scoring.drain()

    async def settle(self) -> None:
        """Let a second or two pass: the documents in force are read, due customers are assessed."""
        await self.valuing.refresh()
        self.scoring.valuation = self.valuing.current()
        self.clock.pass_by(REASSESS_DELAY + timedelta(seconds=1))
        while await ValueJobs(self.engine).reassess(25, self.clock.now()):
            await self.scoring.idle(2.0)
        await self.scoring.idle(2.0)

    async def client(self, *scopes: str) -> httpx.AsyncClient:
        """Provide a client with a token of these scopes."""
        token = await self.tokens.create("test", scopes)
        return httpx.AsyncClient(
            transport=httpx.ASGITransport(self.app),
            base_url="http://scoring",
            headers={"Authorization": f"Bearer {token}"},
        )


@pytest.fixture
async def world(engine: AsyncEngine, store: PostgresStore) -> World:
    """Provide customers with purchases, measured and assessed."""
    made = World(engine, store)
    await made.history()
    assert await made.refresh.measure_when_due(Stop())
    await made.settle()
    return made


@pytest.fixture
async def operator(world: World) -> AsyncIterator[httpx.AsyncClient]:
    """Provide a client that may decide."""
    async with await world.client("admin") as client:
        yield client


async def test_a_base_is_measured_once_and_gives_everybody_a_standing(world: World) -> None:
    """R1, R6, R12, R23: tiers, lifetime value with its horizon, grades, RFM."""
    rows = {row["customer_id"]: row for row in await table(world.engine, "standing")}
    assert len(rows) == CUSTOMERS
    assert {row["tier"] for row in rows.values()} == {"high", "mid", "low"}
    assert sum(row["grade"] == "vip" for row in rows.values()) in range(4, 9)
    one = rows["c00"]
    assert one["lifetime_value_days"] == 365
    assert one["lifetime_value"] == pytest.approx(365 / 5 * 10, rel=0.25)
    assert one["rfm"][1] == "5"
    assert one["quality"] == ["profile_missing"]
    assert not await world.refresh.measure_when_due(Stop()), "it is fresh"
    kept = await table(world.engine, "standing_change")
    assert {row["kind"] for row in kept} >= {"grade_changed", "tier_changed"}


async def test_R16_R18_a_segment_from_its_definition_to_its_members_and_back(
    world: World, operator: httpx.AsyncClient
) -> None:
    wanted = {
        "name": "Often",
        "expression": "purchases >= 20 && tier != 'low'",
        "action": "thank",
        "act_on_existing": True,
    }
    made = await operator.put("/v1/segments/often", json=wanted)
    assert (made.status_code, made.json()["version"]) == (200, 1), made.text
    await world.settle()
    expected = {
        row["customer_id"]
        for row in await table(world.engine, "standing")
        if row["tier"] != "low" and int(row["customer_id"][1:]) <= 5
    }
    assert expected
    first = (await operator.get("/v1/segments/often/customers?limit=2")).json()
    rest = await operator.get(
        "/v1/segments/often/customers", params={"cursor": first["next"], "limit": 200}
    )
    members = [row["customer_id"] for row in first["items"] + rest.json()["items"]]
    assert members == sorted(expected)
    told = [c for c in world.scoring.changed if c.segment == "often"]
    assert sorted(c.customer_id for c in told) == sorted(expected), "each exactly once"
    assert {(c.action, c.silent) for c in told} == {("thank", False)}

    stale = await operator.put("/v1/segments/often", json={**wanted, "version": 0})
    assert stale.status_code == 422
    assert "version 1" in stale.json()["detail"]
    listed = (await operator.get("/v1/segments")).json()["items"]
    assert [(s["id"], s["customers"]) for s in listed] == [("often", len(expected))]
    assert (await operator.delete("/v1/segments/often")).status_code == 200
    await world.settle()
    assert (await operator.get("/v1/segments/often/customers")).json()["items"] == []
    left = [c for c in world.scoring.changed if c.kind == "segment_left"]
    assert len(left) == len(expected)


async def test_R16_a_rule_that_cannot_be_run_is_refused_with_its_place(
    operator: httpx.AsyncClient,
) -> None:
    for rule, place in (("spent >", "line 1"), ("spent > 1 &&\n colour == 'red'", "line 2, col")):
        answer = await operator.put("/v1/segments/x", json={"name": "X", "expression": rule})
        assert answer.status_code == 422
        assert place in answer.json()["detail"]


async def test_R15_thresholds_change_without_a_redeploy(
    world: World, operator: httpx.AsyncClient
) -> None:
    policy = {"high": {"at_least": 1e9}, "mid": {"at_least": 1.0}}
    answer = await operator.put("/v1/value/policy", json={"policy": policy, "reason": "a test"})
    assert answer.json() == {"version": 1}
    await world.settle()
    counts = (await operator.get("/v1/value/counts")).json()
    assert counts["tier"] == {"mid": CUSTOMERS}
    bad = {"policy": {"vip": {"share": 2}}, "reason": "wrong"}
    refused = await operator.put("/v1/value/policy", json=bad)
    assert (refused.status_code, "vip.share" in refused.json()["detail"]) == (422, True)


async def test_R3_R15_categories_tell_of_needs_by_a_mapping_that_changes_without_a_redeploy(
    world: World,
    operator: httpx.AsyncClient,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows = await table(world.engine, "standing")
    assert {need for row in rows for need in row["needs"]} == set()
    mapped = {"affinity": {"categories": {"enterprise": ["office"]}, "odds": 1.5}}
    answer = await operator.put("/v1/value/policy", json={"policy": mapped, "reason": "offices"})
    assert answer.json() == {"version": 1}
    await world.settle()
    found = {row["customer_id"] for row in await table(world.engine, "standing") if row["needs"]}
    assert found
    assert all(int(customer[1:]) % 2 == 0 for customer in found)
    clash = {"affinity": {"categories": {"a": ["PRODUCE"], "b": ["DRUG GM"]}}}
    refused = await operator.put("/v1/value/policy", json={"policy": clash, "reason": "wrong"})
    assert (refused.status_code, "shares a counter" in refused.json()["detail"]) == (422, True)

    monkeypatch.setenv("DATABASE_URL", database_url)
    parser = argparse.ArgumentParser()
    value.add_commands(parser.add_subparsers())
    args = parser.parse_args(["value", "categories"])
    assert await args.command(args) == 0
    toys, office = capsys.readouterr().out.splitlines()[-2:]
    assert toys.startswith("toys ")
    assert "alone" in toys
    assert "enterprise" in office


async def test_R12_a_grade_is_set_by_hand_with_reason_and_end(
    world: World, operator: httpx.AsyncClient
) -> None:
    until = (world.clock.now() + timedelta(days=30)).isoformat()
    given = {"grade": "vip", "reason": "founder's friend", "expires_at": until}
    assert (await operator.put("/v1/grades/c59", json=given)).status_code == 204
    await world.settle()
    shown = (await operator.get("/v1/standings/c59")).json()
    assert (shown["standing"]["grade"], shown["standing"]["overridden"]) == ("vip", True)
    assert shown["set_grades"][0]["reason"] == "founder's friend"
    assert shown["changes"][0]["kind"] == "grade_changed"
    assert (await operator.delete("/v1/grades/c59")).status_code == 204
    await world.settle()
    assert (await operator.get("/v1/standings/c59")).json()["standing"]["grade"] != "vip"


async def test_R5_lists_of_customers_to_win(world: World, operator: httpx.AsyncClient) -> None:
    found = (await operator.get("/v1/lists/potential-high-value")).json()["items"]
    assert found
    worth = [row["worth"] for row in found]
    assert worth == sorted(worth, reverse=True)
    assert {row["grade"] for row in found} == {"potential"}
    world.clock.at = day(1_200)
    for _ in range(3):
        await world.scoring.idle(2.0)
    causes: tuple[LeavingCause, ...] = ("price", "quality")
    learned = [
        TreatmentRecorded(
            customer_id="c04", kind="verdict", at=day(190 + n), task_id=f"t{n}",
            detail="leaving", leaving_cause=cause,
        )
        for n, cause in enumerate(causes)
    ]  # fmt: skip
    async with unit_of_work(world.engine) as work:
        await Treatments(world.engine).add(work, learned)
    first = (await operator.get("/v1/lists/win-back?limit=7")).json()
    assert len(first["items"]) == 7
    more = await operator.get("/v1/lists/win-back", params={"cursor": first["next"], "limit": 200})
    rows = first["items"] + more.json()["items"]
    assert len({row["customer_id"] for row in rows}) == len(rows) == CUSTOMERS
    spent = [row["net_spent"] for row in rows]
    assert spent == sorted(spent, reverse=True)
    told = {row["customer_id"]: row["leaving_cause"] for row in rows if row["leaving_cause"]}
    assert told == {"c04": "quality"}, "the last one learned; of nobody else one is known"


async def test_R21_reading_and_deciding_want_their_scope(world: World) -> None:
    async with await world.client("customers:read") as reader:
        assert (await reader.get("/v1/segments")).status_code == 200
        body = {"name": "X", "expression": "true"}
        assert (await reader.put("/v1/segments/x", json=body)).status_code == 403
        assert (await reader.put("/v1/value/policy", json={})).status_code == 403
        assert (await reader.get("/v1/standings/nobody")).status_code == 404
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(world.app), base_url="http://scoring"
    ) as stranger:
        assert (await stranger.get("/v1/lists/win-back")).status_code == 401


async def test_every_route_has_examples_in_the_openapi_document(world: World) -> None:
    """Requests and answers have examples; the route accepts each example."""
    document = world.app.openapi()
    paths = {path: ways for path, ways in document["paths"].items() if path.startswith("/v1/")}
    assert len(paths) == 11
    schemas = document["components"]["schemas"]

    def examples(content: dict[str, Any]) -> list[Any]:
        named = content["schema"].get("$ref", "").rpartition("/")[2]
        own = [content["example"]] if "example" in content else []
        return own + (schemas[named].get("examples", []) if named else [])

    for path, ways in paths.items():
        for way, operation in ways.items():
            for code, answer in operation["responses"].items():
                if code.startswith("2") and "content" in answer:
                    assert examples(answer["content"]["application/json"]), (way, path)
            if "requestBody" in operation:
                assert examples(operation["requestBody"]["content"]["application/json"]), path
    for model in (
        SegmentIn,
        SegmentView,
        ClassificationPage,
        ClassificationDetail,
        SetGrade,
        PolicyIn,
    ):
        for one in schemas[model.__name__]["examples"]:
            model.model_validate(one)
    policies.parse(json.dumps(schemas["PolicyIn"]["examples"][0]["policy"]))


async def test_R19_R24_the_report_command_writes_page_json_and_csv(
    world: World,
    operator: httpx.AsyncClient,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)
    found = []
    parser = argparse.ArgumentParser()
    value.add_commands(parser.add_subparsers())
    page, numbers, table_ = (tmp_path / name for name in ("s.html", "s.json", "s.csv"))
    many = {"name": "Many", "expression": "purchases >= 20"}
    assert (await operator.put("/v1/segments/many", json=many)).status_code == 200
    await world.settle()
    for n, customer in enumerate(("c01", "c02", "c03")):
        data = ActivityData(kind="campaign_received", campaign_id="spring")
        sent = activity.event(f"s{n}", customer, day(150 + n), kind=types.INTERACTION, data=data)
        world.scoring.log.append(0, sent)
    await world.scoring.drain()
    async with unit_of_work(world.engine) as work:
        raised = TreatmentRecorded(customer_id="c04", kind="task_raised", at=day(160), playbook="x")
        await Treatments(world.engine).add(work, [raised])
    for line in (
        ["segments", "define", "often", "purchases >= 20.0"],
        ["segments", "list"],
        ["report", "--out", str(page), "--json", str(numbers), "--csv", str(table_)],
    ):
        args = parser.parse_args(line)
        found.append(await args.command(args))
        await world.settle()
    assert found == [0, 0, 0]
    assert "<svg" in page.read_text()
    concerned = {}
    for name in ("campaign:spring", "playbook:x", "task", "segment:many"):
        args = parser.parse_args(
            ["report", "--out", str(page), "--json", str(numbers), "--action", name]
        )
        assert await args.command(args) == 0
        everybody = json.loads(numbers.read_text())["before_and_after"]["everybody"]
        concerned[name] = everybody["before"]["customers"] + everybody["left_out"]
        assert f"Before and after: action {name}" in page.read_text()
    inside = len(await table(world.engine, "segment_member"))
    assert inside
    assert concerned == {"campaign:spring": 3, "playbook:x": 1, "task": 1, "segment:many": inside}
    for wrong, field in (
        (["--action", "campaign:autumn"], "--action"),
        (["--action", "policy:9"], "--action"),
        (["--around", day(190).isoformat()], "--around"),
        (["--window-days", "0"], "--window-days"),
    ):
        args = parser.parse_args(["report", "--out", str(page), *wrong])
        with pytest.raises(Invalid) as refused:
            await args.command(args)
        assert refused.value.field == field
    grades = json.loads(numbers.read_text())["movement"]["grade"]
    assert sum(row["customers"] for row in grades) == CUSTOMERS
    assert table_.read_text().startswith("group,period_start")
